import t from 'tap'
import { startNode } from '../../helpers/freehold.ts'
import { startTestPostgres } from '../../helpers/postgres.ts'
import { accessHands } from './hands.ts'

const postgres = await startTestPostgres(t)
const here = await startNode(t, postgres)
const there = await startNode(t, postgres)
const { newPolicy, newRole, setRole } = accessHands(here)

const admin = await here.newTenant()
const stranger = await here.newTenant()
const member = await here.join(admin, 'Basic')
const policy = await newPolicy(admin.token)
await setRole(member, await newRole(admin.token, [policy]))

const { grants, master } = there.service

/** Resolves at the moment when the other node has been told of this change. */
const heardThere = (change: string): Promise<void> =>
  new Promise((resolve) => {
    const forget = grants.forget.bind(grants)
    grants.forget = (heard) => {
      forget(heard)
      if (heard !== change) return
      grants.forget = forget
      resolve()
    }
  })

/** How often the other node asked the master while `work` ran. */
const masterQueries = async (work: () => Promise<unknown>): Promise<number> => {
  let count = 0
  const connect = master.pool.connect
  master.pool.connect = new Proxy(connect, {
    apply: (target, self, args) => {
      // On a starved machine the channel may fall silent; then nodes read through, as they must.
      if (there.service.changes.isFresh()) count += 1
      return Reflect.apply(target, self, args)
    },
  })
  try {
    await work()
  } finally {
    master.pool.connect = connect
  }
  return count
}

const change = (method: string, url: string) => here.call(method, url, { token: admin.token })
const permission = `/api/policies/${policy}/permissions/tenant-api:project:read`
const read = async ({ token } = member) => (await there.call('GET', '/api/projects', { token })).status

t.test('a change of a role acts on the other node as soon as it has heard of it', async (t) => {
  const rounds = 20
  const waits: number[] = []
  const wrong: string[] = []
  for (let round = 0; round < rounds; round += 1) {
    for (const [method, status] of [
      ['PUT', 200],
      ['DELETE', 403],
    ] as const) {
      const heard = heardThere(`access:${admin.tenantId}`)
      const answer = await change(method, permission)
      const answered = performance.now()
      if (answer.status !== 204) wrong.push(`${method}: ${answer.text}`)
      await heard
      waits.push(performance.now() - answered)
      // Eight at once: none of them may be given what another one had begun to look up before.
      const seen = await Promise.all(Array.from({ length: 8 }, () => read()))
      wrong.push(...seen.filter((one) => one !== status).map((one) => `${method} round ${round}: ${one}`))
    }
  }
  t.strictSame(wrong, [])
  waits.sort((a, b) => a - b)
  const at = (part: number) => waits[Math.floor(waits.length * part)]?.toFixed(1)
  t.comment(
    `${waits.length} changes reached the other node: p50 ${at(0.5)} ms, p99 ${at(0.99)} ms after the answer`,
  )
})

t.test(
  'requests ask the master nothing; a change costs its own tenant one look-up, and others none',
  async (t) => {
    await change('PUT', permission)
    for (const who of [member, stranger]) while ((await read(who)) !== 200);
    const many = (who: typeof member) => Promise.all(Array.from({ length: 50 }, () => read(who)))
    t.equal(await masterQueries(() => many(member)), 0)
    t.equal(await masterQueries(() => many(stranger)), 0)
    const heard = heardThere(`access:${admin.tenantId}`)
    await change('DELETE', permission)
    await heard
    t.equal(await masterQueries(() => many(stranger)), 0, 'another tenant')
    t.equal(
      await masterQueries(() => many(member)),
      1,
      'the tenant whose role it was, with fifty requests at once',
    )
    const ask = { token: stranger.token, body: { permission: 'tenant-api:project:read' } }
    t.equal(await masterQueries(() => there.call('POST', '/api/authorize', ask)), 0, 'authorize')
  },
)

t.test('each kind of change is told by its tenant, and what is system-wide to all', async (t) => {
  const told: string[] = []
  const forget = grants.forget.bind(grants)
  grants.forget = (heard) => {
    told.push(heard)
    forget(heard)
  }
  t.teardown(() => {
    grants.forget = forget
  })
  const { db } = here.service.master
  const after = async (work: () => Promise<unknown>): Promise<string[]> => {
    told.length = 0
    await work()
    // Changes are told in the order of their transactions.
    await db.updateTable('people').set({ disabled_at: null }).where('id', '=', stranger.personId).execute()
    while (!told.includes(`person:${stranger.personId}`)) await new Promise(setImmediate)
    return [...new Set(told.filter((heard) => heard.startsWith('access')))]
  }
  const own = [`access:${admin.tenantId}`]
  const role = await newRole(admin.token)
  const other = await newPolicy(admin.token, ['tenant-api:job:run'])
  const link = `/api/roles/${role}/policies/${other}`
  t.strictSame(await after(() => change('PUT', link)), own, 'a policy added')
  t.strictSame(await after(() => change('DELETE', link)), own, 'a policy removed')
  t.strictSame(await after(() => change('PUT', permission)), own, 'a permission added')
  const rename = { token: admin.token, body: { name: 'Renamed' } }
  t.strictSame(await after(() => here.call('PATCH', `/api/roles/${role}`, rename)), own, 'a role renamed')
  await change('PUT', link)
  const deletePolicy = () => db.deleteFrom('policies').where('id', '=', other).execute()
  t.strictSame(await after(deletePolicy), own, 'a policy deleted behind our back, while a role has it')
  t.strictSame(await after(() => change('DELETE', `/api/roles/${role}`)), own, 'a role deleted')
  const viewer = db
    .selectFrom('policies')
    .select('id')
    .where('name', '=', 'Viewer')
    .where('tenant_id', 'is', null)
  const system = () =>
    db
      .deleteFrom('policy_permissions')
      .where('policy_id', 'in', viewer)
      .where('permission', '=', 'tenant-api:job:read')
      .execute()
  t.strictSame(await after(system), ['access'], 'system-wide')
})
