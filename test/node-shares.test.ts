import t from 'tap'
import { connectionBudget, missingConnections } from '../src/node-shares.ts'

t.test('an operator’s CONNECTION_BUDGET is the whole, for tenants alone', async (t) => {
  t.same(connectionBudget({ connectionBudget: 25 }, { maxConnections: 100, reservedConnections: 3 }), {
    budget: 25,
    perNode: 0,
  })
})

t.test(
  'without one it is what the server has, without its reserve, operators and the nodes themselves',
  async (t) => {
    const budgetOf = (maxConnections: number) =>
      connectionBudget({ connectionBudget: undefined }, { maxConnections, reservedConnections: 3 })
    t.same(budgetOf(100), { budget: 87, perNode: 19 })
    t.same(budgetOf(2_000), { budget: 400, perNode: 19 })
    t.same(budgetOf(10), { budget: 1, perNode: 19 }, 'never none')
  },
)

t.test('a budget needs room beside it: for a node, for operators', async (t) => {
  const missingOf = (given: number | undefined, maxConnections: number): number => {
    const probe = { maxConnections, reservedConnections: 3 }
    return missingConnections(connectionBudget({ connectionBudget: given }, probe), probe)
  }
  t.equal(missingOf(68, 100), 0)
  t.equal(missingOf(69, 100), 1)
  t.equal(missingOf(10_000, 100), 9_932)
  t.equal(missingOf(undefined, 100), 0, 'the default leaves it')
  t.equal(missingOf(undefined, 2_000), 0)
  t.equal(missingOf(undefined, 5), 9, 'unless there is none')
})
