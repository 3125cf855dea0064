import { once } from 'node:events'
import { type AddressInfo, connect } from 'node:net'
import pg from 'pg'
import t from 'tap'
import { clientOptions } from '../../src/kernel/postgres-address.ts'
import { startFreehold } from '../helpers/freehold.ts'
import { until } from '../helpers/until.ts'

const { app, call, newTenant, service, superuser } = await startFreehold(t)

/** Sends a request over a socket of its own, and answers with a way to hang up. */
const send = async (token: string, request: string, body = ''): Promise<() => void> => {
  const { port } = app.server.address() as AddressInfo
  const socket = connect({ host: '127.0.0.1', port })
  await once(socket, 'connect')
  const type = body === '' ? '' : `content-type: application/json\r\ncontent-length: ${body.length}\r\n`
  socket.write(`${request} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${token}\r\n${type}\r\n${body}`)
  return () => socket.destroy()
}

t.test('when the client hangs up, what its request runs in the database is cancelled', async (t) => {
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { token, tenantId } = await newTenant()
  const { name } = await service.master.db
    .selectFrom('tenants')
    .innerJoin('databases', 'databases.id', 'tenants.database_id')
    .select('databases.name')
    .where('tenants.id', '=', tenantId)
    .executeTakeFirstOrThrow()
  // Two: inside a transaction the server's view of its sessions stands still.
  const [locker, watcher] = [0, 1].map(() => new pg.Client(clientOptions({ ...superuser, database: name })))
  if (locker === undefined || watcher === undefined) throw new Error('no client')
  for (const client of [locker, watcher]) {
    await client.connect()
    t.teardown(() => client.end())
  }
  const waiting = async (): Promise<number> => {
    const { rows } = await watcher.query(
      `select count(*)::int as n from pg_stat_activity where usename = $1 and wait_event_type = 'Lock'`,
      [name],
    )
    return rows[0].n
  }
  await locker.query('begin; lock table projects in access exclusive mode')
  for (const [request, body] of [
    ['GET /api/projects', ''],
    ['POST /api/projects', '{"name":"Bridge"}'],
  ] as const) {
    const hangUp = await send(token, request, body)
    await until(async () => (await waiting()) === 1)
    hangUp()
    await until(async () => (await waiting()) === 0)
  }
  t.equal(service.router.stats().cancels, 2)
  await locker.query('rollback')
  const { status, body } = await call('GET', '/api/projects', { token })
  t.equal(status, 200)
  t.same(body.data, [], 'nothing was written')
  await until(async () => service.router.stats().leases === 0)
})
