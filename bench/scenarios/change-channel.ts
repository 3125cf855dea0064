import { once } from 'node:events'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { createConnection, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { PostgresAddress } from '../../src/kernel/postgres-address.ts'

/** Another way to a server with a unix socket, on which only the change channel can be cut. */
export type ChangeChannel = Readonly<{
  host: string
  /** Without a word to either side: nothing passes any more, and a new channel is not let through. */
  cut(): void
  /** New channels are let through again. */
  mend(): void
  close(): Promise<void>
}>

/** How the change feed of a node names itself in its first message. */
const name = 'freehold changes'

export const openChangeChannel = async ({ host, port }: PostgresAddress): Promise<ChangeChannel> => {
  const folder = await mkdtemp(join(tmpdir(), 'bench-channel-'))
  await chmod(folder, 0o711)
  const file = `.s.PGSQL.${port}`
  const channels = new Set<readonly [Socket, Socket]>()
  const state = { isCut: false }
  const server = createServer((client) => {
    const upstream = createConnection({ path: join(host, file) })
    client.on('error', () => upstream.destroy())
    upstream.on('error', () => client.destroy())
    client.once('close', () => upstream.destroy())
    upstream.once('close', () => client.destroy())
    client.once('data', (first) => {
      if (first.includes(name)) {
        if (state.isCut) return client.destroy()
        const pair = [client, upstream] as const
        channels.add(pair)
        client.once('close', () => channels.delete(pair))
      }
      upstream.write(first)
      client.pipe(upstream)
      upstream.pipe(client)
      return undefined
    })
  })
  await once(server.listen(join(folder, file)), 'listening')
  return {
    host: folder,
    cut: () => {
      state.isCut = true
      for (const [client, upstream] of channels) {
        client.unpipe(upstream).pause()
        upstream.unpipe(client).pause()
      }
    },
    mend: () => {
      state.isCut = false
    },
    close: async () => {
      server.close()
      await rm(folder, { recursive: true, force: true })
    },
  }
}
