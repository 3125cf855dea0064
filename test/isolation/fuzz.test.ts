import t from 'tap'
import { startTestPostgres } from '../helpers/postgres.ts'
import { seedOfRun } from '../helpers/random.ts'
import { fuzzApart } from './fuzz-apart.ts'
import { makeWorld } from './world.ts'

// Two hundred databases and what follows take a minute or two on a busy machine.
t.setTimeout(300_000)
const world = await makeWorld(await startTestPostgres(t), 200)

t.test(
  '20,000 requests to 200 tenants on 4 nodes, whatever goes wrong, show nobody another one’s data',
  async (t) => {
    const seed = seedOfRun()
    t.comment(`SEED=${seed}`)
    const { done, findings, served, left, router, tally } = await fuzzApart({ world, seed, requests: 20_000 })
    t.same(findings, [], 'nothing was found')
    t.ok(done >= 20_000, `${done} requests`)
    t.ok(served > 0.7, `${Math.round(100 * served)} of 100 requests were served`)
    t.equal(left, 0, 'no lease is out and nobody waits')
    t.equal(router.mismatches, 0, 'no connection reached another database')
    t.ok(router.steals > 2_000, `${router.steals} connections changed hands`)
    const seen = (what: string): number => tally[what] ?? 0
    for (const trouble of ['kill', 'cancel', 'suspend', 'role', 'session', 'slugs', 'trade', 'lock', 'cut'])
      t.ok(seen(`trouble ${trouble}`) > 0, `${trouble}: ${seen(`trouble ${trouble}`)}`)
    t.ok(router.retries > 0 && router.spoiled > 0, JSON.stringify(router))
  },
)
