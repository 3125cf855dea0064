import { type AddressInfo, createServer } from 'node:net'
import { TLSSocket } from 'node:tls'
import { sql } from 'kysely'
import t, { type Test } from 'tap'
import { dial } from '../../src/connection-router/doorbell.ts'
import type { TlsMode } from '../../src/kernel/postgres-address.ts'
import { ownCertificate } from '../helpers/certificate.ts'
import { codeOf, startWorld, until, wordOf } from './world.ts'

const world = await startWorld(t, 2)
const [a, b] = [world.tenant(0), world.tenant(1)]
const certificate = ownCertificate()

/** PostgreSQL manual, "Message Formats": what a client asks that wants TLS. */
const sslRequest = '0000000804d2162f'

/** One who came: what was said in the clear, and what under TLS. */
type Guest = { inTheClear: string; secretly: string }

/** The server, as it is reached from another machine: it speaks TLS first, or says that it does not. */
const standBefore = async (t: Test, mode: TlsMode, speaksTls = true): Promise<Guest[]> => {
  const guests: Guest[] = []
  const letIn = (secure: TLSSocket, guest: Guest): void => {
    const session = dial(a.address).on('error', () => secure.destroy())
    secure.on('error', () => session.destroy())
    secure.on('data', (bytes: Buffer) => {
      guest.secretly += bytes.toString('latin1')
    })
    secure.pipe(session)
    session.on('data', (answer) => secure.write(answer))
    // The server has forgotten the session when the router hears of its end.
    session.on('end', () => setTimeout(() => secure.end(), 20))
  }
  // It hangs up only when the server has: half-open, or it would do so as soon as the router has said goodbye.
  const door = createServer({ allowHalfOpen: true }, (socket) => {
    const guest: Guest = { inTheClear: '', secretly: '' }
    guests.push(guest)
    socket.on('error', () => {})
    const hear = (bytes: Buffer): void => {
      guest.inTheClear += bytes.toString('hex')
      if (guest.inTheClear !== sslRequest) return
      socket.write(speaksTls ? 'S' : 'N')
      if (!speaksTls) return
      socket.off('data', hear)
      letIn(new TLSSocket(socket, { isServer: true, ...certificate }), guest)
    }
    socket.on('data', hear)
  })
  await new Promise<void>((resolve) => door.listen(0, '127.0.0.1', resolve))
  t.teardown(() => door.close())
  const reached = { host: '127.0.0.1', port: (door.address() as AddressInfo).port, ssl: mode }
  for (const tenant of [a, b])
    world.master.set(tenant.tenantId, { ...tenant, address: { ...tenant.address, ...reached } })
  return guests
}

world.test('a login is encrypted, on a socket of its own and on one that was ready', async (t) => {
  const guests = await standBefore(t, 'no-verify')
  const router = world.router()
  t.equal(await wordOf(router, a), a.tenantId)
  await until(() => guests.length === 2)
  t.strictSame(guests[1], { inTheClear: '', secretly: '' }, 'nothing was said on the one that is ready')
  t.equal(await wordOf(router, b), b.tenantId)
  for (const [n, tenant] of [a, b].entries()) {
    t.equal(guests[n]?.inTheClear, sslRequest, 'TLS was asked for, and nothing else said')
    t.match(guests[n]?.secretly, tenant.address.database)
  }
})

world.test('what nobody waits for is cancelled, and that is encrypted too', async (t) => {
  const guests = await standBefore(t, 'no-verify')
  const router = world.router()
  const leave = new AbortController()
  const slow = router.use(a.tenantId, (db) => sql`select pg_sleep(60)`.execute(db), { signal: leave.signal })
  const running = (): Promise<unknown[]> =>
    world.admin(`select 1 from pg_stat_activity where query = 'select pg_sleep(60)' and state = 'active'`)
  await until(async () => (await running()).length === 1)
  leave.abort()
  await t.rejects(slow)
  await until(async () => (await running()).length === 0)
  // CancelRequest, as the manual has it.
  const isCancel = ({ secretly }: Guest): boolean => secretly.startsWith('\0\0\0\x10\x04\xd2\x16\x2e')
  t.equal(guests.filter(isCancel).length, 1)
  for (const { inTheClear } of guests) t.ok(['', sslRequest].includes(inTheClear))
})

world.test('a server that cannot prove who it is hears nothing', async (t) => {
  const guests = await standBefore(t, 'verify-full')
  const router = world.router()
  t.equal(await codeOf(wordOf(router, a)), 'database_unavailable')
  t.strictSame(guests, [{ inTheClear: sslRequest, secretly: '' }])
})

world.test('nor does one that does not speak TLS', async (t) => {
  const guests = await standBefore(t, 'no-verify', false)
  const router = world.router()
  t.equal(await codeOf(wordOf(router, a)), 'database_unavailable')
  t.strictSame(guests, [{ inTheClear: sslRequest, secretly: '' }])
})
