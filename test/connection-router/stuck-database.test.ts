import t from 'tap'
import { connectTo } from '../helpers/postgres.ts'
import { read } from './in-flight.ts'
import { codeOf, startWorld, until } from './world.ts'

/** A database that takes logins and then lets nobody in: its catalogue is locked, as by `vacuum full`. */

const world = await startWorld(t, 4)
const [stuck, ...others] = world.tenants
if (stuck === undefined) throw new Error('no tenant')

const locked = async (): Promise<() => Promise<unknown>> => {
  const locker = await connectTo(t, { ...world.server.superuser, database: stuck.address.database })
  await locker.query('begin; lock table pg_class in access exclusive mode')
  return () => locker.query('rollback')
}

world.test('it is unavailable in time, and the cluster stays open to others', async (t) => {
  const router = world.router()
  const unlock = await locked()
  t.equal(await codeOf(router.use(stuck.tenantId, read)), 'database_unavailable')
  t.equal(router.stats().clusters[0]?.breaker, 'closed')
  for (const { tenantId } of others) t.equal(await router.use(tenantId, read), tenantId)
  await unlock()
  t.equal(await router.use(stuck.tenantId, read), stuck.tenantId)
})

world.test('however many wait for it, others can connect meanwhile', async (t) => {
  const router = world.router()
  const unlock = await locked()
  const inTransaction = () =>
    router.use(stuck.tenantId, (db) =>
      db.transaction().execute((trx) => trx.selectFrom('canary').select('word').executeTakeFirst()),
    )
  const waiting = Array.from({ length: 20 }, inTransaction)
  await until(() => router.stats().opens > 0)
  for (const { tenantId } of others) t.equal(await router.use(tenantId, read), tenantId)
  t.match(router.stats(), { waiters: 20, openFailures: 0 })
  await unlock()
  for (const row of await Promise.all(waiting)) t.equal(row?.word, stuck.tenantId)
})
