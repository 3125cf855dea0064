import t from 'tap'
import { isAppError } from '../../src/kernel/errors.ts'
import { startWorld, type TestRouter, until } from './world.ts'

const world = await startWorld(t, 2)
const [a, b] = [world.tenant(0), world.tenant(1)]

const patience = { acquireTimeoutMs: 20_000 }
/** So many may wait however long the line has stood still. */
const shortLine = 64

/** A clock that a test moves by hand. */
const handClock = () => {
  let now = Date.now()
  const move = (ms: number): void => {
    now += ms
  }
  return { clock: { now: () => new Date(now) }, move }
}

const ways: Record<string, (router: TestRouter, tenantId: string) => Promise<string | undefined>> = {
  statement: (router, tenantId) =>
    router.use(tenantId, async (db) => (await db.selectFrom('canary').selectAll().executeTakeFirst())?.word),
  transaction: (router, tenantId) =>
    router.use(tenantId, (db) =>
      db
        .transaction()
        .execute(async (trx) => (await trx.selectFrom('canary').selectAll().executeTakeFirst())?.word),
    ),
}

for (const [what, run] of Object.entries(ways)) {
  world.test(`no further ${what} joins a long line that stands still; all in it are served`, async (t) => {
    const { clock, move } = handClock()
    const router = world.router({ ...patience, clock, budget: 4, tenantMaxConnections: 1 })
    const ended = Promise.withResolvers<void>()
    const busy = router.use(a.tenantId, (db) => db.transaction().execute(() => ended.promise))
    await until(() => router.stats().clusters[0]?.busy === 1)
    const waiting = Array.from({ length: shortLine - 1 }, () => run(router, a.tenantId))
    await until(() => router.stats().waiters === shortLine - 1)
    move(19_000)
    waiting.push(run(router, a.tenantId))
    await until(() => router.stats().waiters === shortLine)
    const error = await run(router, a.tenantId).catch((reason: unknown) => reason)
    t.ok(isAppError(error, 'overloaded'))
    t.match(error, { status: 503, retryAfter: 20 })
    t.match(router.stats(), { waiters: shortLine, timeouts: 1 })
    t.equal(await run(router, b.tenantId), b.tenantId, 'another tenant notices nothing')
    move(-19_000)
    waiting.push(run(router, a.tenantId))
    await until(() => router.stats().waiters === shortLine + 1)
    ended.resolve()
    await busy
    t.strictSame(new Set(await Promise.all(waiting)), new Set([a.tenantId]))
  })
}

world.test('a long line that moves is open to everyone', async (t) => {
  const router = world.router({ ...patience, budget: 4, tenantMaxConnections: 1 })
  const words = await router.use(a.tenantId, () =>
    Promise.all(Array.from({ length: 500 }, () => ways.transaction?.(router, a.tenantId))),
  )
  t.strictSame(new Set(words), new Set([a.tenantId]))
  t.equal(router.stats().timeouts, 0)
})
