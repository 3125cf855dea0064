import t from 'tap'
import { maxConnecting } from '../../src/connection-router/connect-gate.ts'
import { codeOf, startWorld, until } from './world.ts'

const world = await startWorld(t, 2)
const { tenantId } = world.tenant(0)

world.test('connections that are cut while they open are in nobody’s way afterwards', async (t) => {
  const router = world.router({ budget: 2 * maxConnecting, tenantMaxConnections: maxConnecting })
  const transactions = world.tenants.flatMap(({ tenantId }) =>
    Array.from({ length: maxConnecting / 2 }, () =>
      codeOf(router.use(tenantId, (db) => db.transaction().execute(async () => {}))),
    ),
  )
  while (router.stats().clusters[0]?.opening !== maxConnecting) await new Promise(setImmediate)
  router.cut()
  const codes = await Promise.all(transactions)
  t.same(
    codes.filter((code) => code !== 'no error' && code !== 'database_unavailable'),
    [],
  )
  const [row] = await router.use(tenantId, (db) => db.selectFrom('canary').select('word').execute())
  t.equal(row?.word, tenantId)
  // The server ends a session whose socket was cut when it reads from it next.
  await until(async () => (await world.sessions()) === router.stats().clusters[0]?.permitsUsed)
})
