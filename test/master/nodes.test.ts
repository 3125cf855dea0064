import fc from 'fast-check'
import { sql } from 'kysely'
import t, { type Test } from 'tap'
import { newId } from '../../src/kernel/ids.ts'
import { createLogger } from '../../src/kernel/log.ts'
import { openMaster } from '../../src/master/master.ts'
import { migrateMaster } from '../../src/master/migrate-master.ts'
import {
  forgetNodes,
  listNodeShares,
  type NodeLink,
  openNodeLink,
  type ShareGrant,
  setConnectionBudget,
} from '../../src/master/nodes.ts'
import { startTestPostgres } from '../helpers/postgres.ts'

const postgres = await startTestPostgres(t)
await migrateMaster(postgres.master)
const { db, close } = openMaster(postgres.master, createLogger('silent'))
t.teardown(close)

const clusterId = newId()
await db
  .insertInto('clusters')
  .values({
    ...{
      id: clusterId,
      name: 'default',
      kind: 'shared',
      region: 'local',
      host: 'x',
      port: 1,
      ssl: 'disable',
    },
    provisioner: Buffer.alloc(1),
  })
  .execute()

/** A node as simple as can be: it keeps to `total`, and has some connections. */
class ModelNode {
  readonly id = newId()
  readonly link: NodeLink
  total = 0
  inUse = 0

  constructor(routes = true) {
    const facts = { id: this.id, role: 'api', version: '1', host: 'here', routes } as const
    this.link = openNodeLink(postgres.master, facts, 60_000)
  }

  get limit(): number {
    return Math.max(this.total, this.inUse)
  }

  async renew(): Promise<ShareGrant> {
    const [grant] = await this.link.renew(new Map([[clusterId, { claim: this.limit, inUse: this.inUse }]]))
    if (grant === undefined) throw new Error('no share')
    this.total = Math.min(grant.target, grant.granted)
    return grant
  }
}

const nodes: ModelNode[] = []
const newNode = (routes = true): ModelNode => {
  const node = new ModelNode(routes)
  nodes.push(node)
  return node
}

const expire = (node: ModelNode): Promise<unknown> =>
  sql`update nodes set expires_at = clock_timestamp() where id = ${node.id}`.execute(db)

const test = (name: string, budget: number, body: (t: Test) => Promise<void>): void => {
  t.test(name, async (t) => {
    await setConnectionBudget(db, clusterId, { budget, perNode: 0 })
    try {
      await body(t)
    } finally {
      await Promise.all(nodes.splice(0).map(({ link }) => link.leave()))
      await forgetNodes(db)
    }
  })
}

test(
  'a node alone has the whole; a second one gets its half when the first has acknowledged',
  10,
  async (t) => {
    const [a, b] = [newNode(), newNode()]
    t.match(await a.renew(), { nodes: 1, whole: 10, target: 10, granted: 10 })
    a.inUse = 7
    t.match(await b.renew(), { nodes: 2, target: 5, granted: 0 })
    t.match(await a.renew(), { target: 5, granted: 10 }, 'it had not heard yet')
    t.match(await b.renew(), { granted: 0 })
    t.match(await a.renew(), { target: 5, granted: 7 }, 'it has closed what was idle')
    t.match(await b.renew(), { granted: 3 })
    a.inUse = 4
    await a.renew()
    t.match(await b.renew(), { granted: 5 })
  },
)

test(
  'what a node does with its connections is kept beside them, and nothing from one that does not say',
  20,
  async (t) => {
    const numbers = { pools: 3, leases: 2, waiters: 1, opening: 4, idle: 5, busy: 6, closing: 7 }
    const facts = { id: newId(), role: 'api', version: '1', host: 'here', routes: true } as const
    const link = openNodeLink(postgres.master, facts, 60_000, { numbers: () => [{ clusterId, ...numbers }] })
    t.teardown(() => link.leave())
    const shares = async () => (await listNodeShares(db)).filter((row) => row.cluster_id === clusterId)
    await link.renew(new Map([[clusterId, { claim: 0, inUse: 22 }]]))
    t.match(await shares(), [{ id: facts.id, in_use: 22, ...numbers }])
    numbers.waiters = 9
    await link.renew(new Map([[clusterId, { claim: 0, inUse: 22 }]]))
    t.match(await shares(), [{ id: facts.id, in_use: 22, ...numbers }])
    // A node of an older version says no more than this.
    const older = openNodeLink(postgres.master, facts, 60_000)
    t.teardown(() => older.leave())
    const nothing = Object.fromEntries(Object.keys(numbers).map((key) => [key, 0]))
    await sql`update nodes set renewal = 0`.execute(db)
    await older.renew(new Map([[clusterId, { claim: 0, inUse: 1 }]]))
    t.match(await shares(), [{ id: facts.id, in_use: 1, ...nothing }])
  },
)

test('a node that leaves gives its share at once, a dead one when its lease has ended', 9, async (t) => {
  const [a, b, c] = [newNode(), newNode(), newNode()]
  for (let i = 0; i < 3; i++) for (const node of [a, b, c]) await node.renew()
  t.same([a.total, b.total, c.total], [3, 3, 3])
  await c.link.leave()
  for (const node of [a, b]) await node.renew()
  t.same([a.total, b.total], [4, 4])
  await expire(b)
  await a.renew()
  t.equal(a.total, 9)
  t.same(
    (await listNodeShares(db)).map(({ id }) => id),
    [a.id],
  )
})

test('a node that was thought dead begins as a newcomer, with what it really has', 10, async (t) => {
  const [a, b] = [newNode(), newNode()]
  for (let i = 0; i < 2; i++) for (const node of [a, b]) await node.renew()
  await expire(b)
  await a.renew()
  t.equal(a.total, 10)
  b.total = 0
  b.inUse = 2
  t.match(await b.renew(), { granted: 2 })
  t.match(await a.renew(), { target: 5 })
})

test('a renewal that arrives after a newer one changes nothing', 10, async (t) => {
  const a = newNode()
  await a.renew()
  await sql`update nodes set renewal = 100 where id = ${a.id}`.execute(db)
  await t.rejects(a.link.renew(new Map()), /older/)
  const [row] = await listNodeShares(db)
  t.equal(row?.granted, 10)
})

test(
  'a worker takes part without a share, and each node takes its own connections from the whole',
  20,
  async (t) => {
    await setConnectionBudget(db, clusterId, { budget: 20, perNode: 4 })
    const [api, worker] = [newNode(), newNode(false)]
    t.match(await worker.renew(), { target: 0, granted: 0, whole: 16 })
    t.match(await api.renew(), { nodes: 2, whole: 12, target: 12, granted: 12 })
  },
)

test('with more nodes than connections nobody goes over the whole', 2, async (t) => {
  const all = [newNode(), newNode(), newNode()]
  for (let i = 0; i < 3; i++) for (const node of all) await node.renew()
  t.equal(
    all.reduce((sum, { total }) => sum + total, 0),
    2,
  )
})

test('a smaller budget reaches every node', 10, async (t) => {
  const all = [newNode(), newNode()]
  for (let i = 0; i < 3; i++) for (const node of all) await node.renew()
  await setConnectionBudget(db, clusterId, { budget: 4, perNode: 0 })
  for (const node of all) await node.renew()
  t.same(
    all.map(({ total }) => total),
    [2, 2],
  )
})

const step = fc.oneof(
  { weight: 8, arbitrary: fc.record({ kind: fc.constant('renew' as const), which: fc.nat(9) }) },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('use' as const),
      which: fc.nat(9),
      part: fc.double({ min: 0, max: 1, noNaN: true }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('come' as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('leave' as const), which: fc.nat(9) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('die' as const), which: fc.nat(9) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('cut off' as const), which: fc.nat(9) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('answer lost' as const), which: fc.nat(9) }) },
)
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never

/** Opens and closes connections as a node would: up to its total, or only closing while it has more. */
const use = (node: ModelNode, part: number): void => {
  const most = node.inUse > node.total ? node.inUse : node.total
  node.inUse = Math.floor(most * part)
}

const run = async (live: ModelNode[], action: Step): Promise<void> => {
  if (action.kind === 'come') {
    if (live.length < 5) live.push(newNode())
    return
  }
  const index = action.which % Math.max(1, live.length)
  const node = live[index]
  if (node === undefined) return
  if (action.kind === 'renew') await node.renew()
  else if (action.kind === 'use') use(node, action.part)
  else if (action.kind === 'answer lost') {
    await node.link.renew(new Map([[clusterId, { claim: node.limit, inUse: node.inUse }]]))
  } else if (action.kind === 'cut off') {
    // Its own deadlines are over before the lease is.
    node.total = 0
    node.inUse = 0
    await expire(node)
  } else {
    live.splice(index, 1)
    if (action.kind === 'die') await expire(node)
    else await node.link.leave()
  }
}

t.test(
  'in every order of coming, going, dying, being cut off and losing answers, nobody goes over the whole',
  async () => {
    await setConnectionBudget(db, clusterId, { budget: 7, perNode: 0 })
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 60, size: 'max' }), async (steps) => {
        const live: ModelNode[] = []
        for (const action of steps) {
          await run(live, action)
          const sum = live.reduce((all, { limit }) => all + limit, 0)
          if (sum > 7) throw new Error(`${sum} of 7 after ${action.kind}`)
        }
        // Left alone, they come to their fair shares: all are known, each hears its target, gives back what is over, gets its part.
        for (const node of live) node.inUse = 0
        for (let i = 0; i < 4; i++) for (const node of live) await node.renew()
        for (const { total } of live) {
          if (total !== Math.floor(7 / live.length)) throw new Error(`${total} with ${live.length} nodes`)
        }
        await Promise.all(nodes.splice(0).map(({ link }) => link.leave()))
        await forgetNodes(db)
      }),
      { numRuns: 60 },
    )
  },
)
