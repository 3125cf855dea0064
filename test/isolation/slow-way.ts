import { rmSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { PostgresAddress } from '../../src/kernel/postgres-address.ts'

/** So many answers are late, by so many milliseconds at most. */
const lateRate = 0.15
export const lateMs = 50

const forward = async (from: Socket, to: Socket, random: () => number): Promise<void> => {
  for await (const bytes of from) {
    if (random() < lateRate) await sleep(random() * lateMs)
    to.write(bytes)
  }
  to.end()
}

const socketOf = ({ host, port }: PostgresAddress): { path: string } | { host: string; port: number } =>
  host.startsWith('/') ? { path: join(host, `.s.PGSQL.${port}`) } : { host, port }

/**
 * Another address of the same server, from which some answers come late: each connection keeps its order, but what is
 * read on one and heard on another comes in any order, as over a network.
 */
export const openSlowWay = async (
  address: PostgresAddress,
  random: () => number,
): Promise<{ address: PostgresAddress; close(): Promise<void> }> => {
  const folder = await mkdtemp(join(tmpdir(), 'test-freehold-way-'))
  const remove = (): void => rmSync(folder, { recursive: true, force: true })
  // A process that has found what it looked for closes nothing.
  process.once('exit', remove)
  const open = new Set<Socket>()
  const server = createServer((client) => {
    const upstream = connect(socketOf(address))
    for (const socket of [client, upstream]) {
      open.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => open.delete(socket))
    }
    client.on('close', () => upstream.destroy())
    client.pipe(upstream)
    forward(upstream, client, random).catch(() => client.destroy())
  })
  const slow = { ...address, host: folder, port: 5432 }
  await new Promise<void>((resolve) => server.listen(join(folder, '.s.PGSQL.5432'), resolve))
  const close = async (): Promise<void> => {
    for (const socket of open) socket.destroy()
    await new Promise((resolve) => server.close(resolve))
    process.off('exit', remove)
    remove()
  }
  return { address: slow, close }
}
