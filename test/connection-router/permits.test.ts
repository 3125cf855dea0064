import fc from 'fast-check'
import t from 'tap'
import { Permits } from '../../src/connection-router/permits.ts'

import { Simulation, settle } from './budget-simulation.ts'

t.test('a permit given back twice counts once', async (t) => {
  const permits = new Permits(2)
  const permit = permits.take('a')
  permits.take('b')
  t.equal(permits.take('a'), undefined)
  permit?.giveBack()
  permit?.giveBack()
  t.equal(permits.free, 1)
  t.equal(permits.held('a'), 0)
  t.equal(permits.held('b'), 1)
})

const tenants = fc.constantFrom('a', 'b', 'c', 'd', 'e')
const which = fc.nat(30)
const reusable = fc.integer({ min: 0, max: 3 }).map((n) => n > 0)
const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('acquire' as const), tenant: tenants }) },
  { weight: 8, arbitrary: fc.record({ kind: fc.constant('plain' as const), tenant: tenants }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('answer' as const), which, reusable }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('tick' as const), times: fc.nat(4) }) },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant('release' as const), which, reusable }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('succeed' as const), which }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('fail' as const), which }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('end' as const), which }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('die' as const), which }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('break' as const), which }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('retire' as const), tenant: tenants }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('later' as const), ms: fc.nat(400) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('total' as const), total: fc.nat(8) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('cut' as const), sure: fc.nat(9) }) },
)
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never

const pick = <T>(from: readonly T[], which: number): T | undefined => from[which % Math.max(1, from.length)]

const run = (simulation: Simulation, action: Step): void => {
  const { alive } = simulation
  const opening = alive.filter(({ state }) => state === 'opening')
  const closing = alive.filter((connection) => connection.closing)
  const open = alive.filter((connection) => connection.state === 'open' && !connection.closing)
  const running = alive.filter(({ inFlight }) => inFlight > 0)
  if (action.kind === 'acquire') simulation.acquire(action.tenant)
  else if (action.kind === 'plain') simulation.plain(action.tenant)
  else if (action.kind === 'tick') for (let i = 0; i < action.times; i++) simulation.tick()
  else if (action.kind === 'answer') {
    const connection = pick(running, action.which)
    if (connection === undefined) return
    connection.reusable &&= action.reusable
    connection.answer()
  } else if (action.kind === 'release') simulation.release(action.which, action.reusable)
  else if (action.kind === 'succeed') pick(opening, action.which)?.succeed()
  else if (action.kind === 'fail') pick(opening, action.which)?.fail()
  else if (action.kind === 'end') pick(closing, action.which)?.end()
  else if (action.kind === 'die') pick(alive, action.which)?.end()
  else if (action.kind === 'break') pick(open, action.which)?.break()
  else if (action.kind === 'retire') simulation.retire(action.tenant)
  else if (action.kind === 'total') simulation.setTotal(action.total)
  else if (action.kind === 'cut') {
    if (action.sure === 0) simulation.cut()
  } else simulation.nowMs += action.ms
}

t.test(
  'in every sequence of opening, failing, closing, dying, stealing and changed totals, permits are the connections',
  async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { minLength: 20, maxLength: 120, size: 'max' }),
        fc.integer({ min: 1, max: 6 }),
        fc.integer({ min: 1, max: 8 }),
        async (steps, budget, tenantMax) => {
          const simulation = new Simulation(budget, tenantMax)
          for (const action of steps) {
            run(simulation, action)
            await settle()
            simulation.check()
          }
          await simulation.finish()
        },
      ),
      { numRuns: 400 },
    )
  },
)
