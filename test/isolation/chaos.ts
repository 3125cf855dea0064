import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { clientOptions } from '../../src/kernel/postgres-address.ts'
import { sharedId } from './canaries.ts'
import { anyNode, ask, pick, type User } from './fuzz-run.ts'
import { getProject, getTenant, patchProject } from './requests.ts'
import { lateMs } from './slow-way.ts'
import type { Tenant } from './tenant.ts'

/** The operator's hands: the superuser in the master. */
export const openHands = ({ run }: Pick<User, 'run'>): pg.Pool => {
  const { database } = run.world.master
  const pool = new pg.Pool({ ...clientOptions({ ...run.world.superuser, database }), max: 8 })
  pool.on('error', () => {})
  return pool
}

type Statement = readonly [sql: string, values: unknown[]]
type Change = Readonly<{ user: User; hands: pg.Pool }>

/** Changes the master in one transaction. Resolves when every node has heard of it. `before` is done before the commit. */
const change = async (
  { user, hands }: Change,
  statements: readonly Statement[],
  before: () => Promise<void> = async () => {},
): Promise<void> => {
  const marker = `marker:${randomUUID()}`
  const pending = user.run.nodes.map((node) => node.heard(marker))
  const client = await hands.connect()
  try {
    await client.query('begin')
    for (const [sql, values] of statements) await client.query(sql, [...values])
    await client.query(`select pg_notify('freehold_changes', $1)`, [marker])
    await before()
    await client.query('commit')
  } finally {
    client.release()
  }
  for (const one of pending) one.committed = true
  await Promise.all(pending.map(({ promise }) => promise))
}

/** Some tenant that nobody changes just now; undefined when it was not found at once. */
const free = ({ run, random }: User, trades: boolean, besides?: Tenant): Tenant | undefined => {
  const tenant = pick(
    random,
    run.tenants.filter((one) => one.trades === trades),
  )
  return tenant.changing || tenant === besides ? undefined : tenant
}

/** Nobody else changes these tenants meanwhile. */
const alone = async (tenants: readonly Tenant[], work: () => Promise<void>): Promise<void> => {
  for (const tenant of tenants) tenant.changing = true
  await work()
  for (const tenant of tenants) tenant.changing = false
}

const read = getProject(sharedId(0))

const suspend = async (around: Change): Promise<void> => {
  const { user } = around
  const tenant = free(user, user.random() < 0.1)
  if (tenant === undefined) return
  await alone([tenant], async () => {
    const status = `update tenants set status = $2 where id = $1`
    await change(around, [[status, [tenant.facts.id, 'suspended']]])
    const closed = { ...read, name: 'suspended', statuses: [403] }
    await ask(user, tenant, tenant.admin, closed)
    await sleep(user.random() * 60)
    await ask(user, tenant, tenant.admin, closed)
    await change(around, [[status, [tenant.facts.id, 'active']]])
    await ask(user, tenant, tenant.admin, { ...read, name: 'resumed' })
  })
}

const changeRole = async (around: Change): Promise<void> => {
  const { user } = around
  const tenant = free(user, false)
  if (tenant === undefined) return
  await alone([tenant], async () => {
    const role = pick(user.random, ['Admin', 'Writer', 'Viewer', 'Basic'])
    const { id, wanderer } = tenant.facts
    const sql = `update memberships set role_id = (select id from roles where name = $3 and tenant_id is null)
      where tenant_id = $1 and person_id = $2`
    await change(around, [[sql, [id, wanderer, role]]])
    const mayRead = role === 'Basic' ? 403 : 200
    const mayWrite = role === 'Basic' || role === 'Viewer' ? 403 : 200
    await ask(user, tenant, tenant.wanderer, { ...read, name: `${role} reads`, statuses: [mayRead] })
    const write = patchProject(tenant, sharedId(2))
    await ask(user, tenant, tenant.wanderer, { ...write, name: `${role} writes`, statuses: [mayWrite] })
  })
}

const endSession = async (around: Change): Promise<void> => {
  const { user } = around
  const tenant = free(user, user.random() < 0.1)
  if (tenant === undefined) return
  await alone([tenant], async () => {
    const { wanderer } = tenant
    const ended = { ...read, name: 'after the session' }
    await ask(user, tenant, wanderer, { ...ended, name: 'in the session', statuses: [200, 403] })
    await change(around, [['update sessions set ended_at = now() where id = $1', [wanderer.sessionId]]])
    await ask(user, tenant, wanderer, { ...ended, statuses: [401] })
    await ask(user, tenant, wanderer, { ...ended, statuses: [401] })
    wanderer.token = undefined
  })
}

/** Two tenants take each other's slug. */
const swapSlugs = async (around: Change): Promise<void> => {
  const { user } = around
  const a = free(user, false)
  const b = free(user, false, a)
  if (a === undefined || b === undefined) return
  await alone([a, b], async () => {
    const nodes = [anyNode(user), anyNode(user)]
    const readBoth = (): Promise<unknown> =>
      Promise.all(nodes.flatMap((node) => [a, b].map((one) => ask(user, one, one.admin, read, { node }))))
    await readBoth()
    const slug = 'update tenants set slug = $2 where id = $1'
    await change(around, [
      [slug, [a.facts.id, `between-${randomUUID()}`]],
      [slug, [b.facts.id, a.slug]],
      [slug, [a.facts.id, b.slug]],
    ])
    ;[a.slug, b.slug] = [b.slug, a.slug]
    await readBoth()
    for (const one of [a, b])
      await ask(user, one, one.admin, { ...getTenant(one, one.slug), name: 'by new slug', statuses: [200] })
  })
}

const deeds = (a: Tenant, b: Tenant): Statement[] => {
  const [ofA, ofB] = [a.facts.id, b.facts.id]
  const hold = `update tenants set status = 'active', database_id = (select id from databases where name = $2) where id = $1`
  return [
    [
      `update databases set epoch = epoch + 1 where id in (select database_id from tenants where id in ($1, $2))`,
      [ofA, ofB],
    ],
    [`update tenants set status = 'pending', database_id = null where id in ($1, $2)`, [ofA, ofB]],
    [hold, [ofA, databaseOf(b)]],
    [hold, [ofB, databaseOf(a)]],
  ]
}

const databases = new WeakMap<Tenant, string>()
const databaseOf = (tenant: Tenant): string => databases.get(tenant) ?? tenant.facts.database

/** A look-up that begins so long before a commit may well end after it. */
const raceMs = 60

/** Two tenants trade their databases, as a move swaps a deed, while both are read. */
const trade = async (around: Change): Promise<void> => {
  const { user } = around
  const a = free(user, true)
  const b = free(user, true, a)
  if (a === undefined || b === undefined) return
  await alone([a, b], async () => {
    const both = user.run.nodes.flatMap((_, node) => [a, b].map((one) => ({ one, node })))
    const readBoth = (): Promise<unknown> =>
      Promise.all(both.map(({ one, node }) => ask(user, one, one.admin, read, { node })))
    await readBoth()
    const [ofA, ofB, statements] = [a.holds, b.holds, deeds(a, b)]
    a.show(ofA, ofB)
    b.show(ofA, ofB)
    // Every node looks them up at the very moment of the trade.
    await change(around, statements, async () => {
      const told = [a, b].map((one) =>
        around.hands.query(`select pg_notify('freehold_changes', $1)`, [`tenant:${one.facts.id}`]),
      )
      await Promise.all(told)
      await sleep(user.random() * raceMs)
    })
    a.show(ofB)
    b.show(ofA)
    const [databaseA, databaseB] = [databaseOf(a), databaseOf(b)]
    databases.set(a, databaseB)
    databases.set(b, databaseA)
    await readBoth()
    // By now the latest of those look-ups has ended too.
    await sleep(lateMs)
    await readBoth()
  })
}

const sessionsOf = (condition: string): string =>
  `from pg_stat_activity where application_name = 'freehold' and ${condition} order by random() limit 3`

const kill = async ({ hands }: Change): Promise<void> => {
  await hands.query(`select pg_terminate_backend(pid) ${sessionsOf('true')}`)
}

const cancel = async ({ hands }: Change): Promise<void> => {
  await hands.query(`select pg_cancel_backend(pid) ${sessionsOf(`state <> 'idle'`)}`)
}

/** Nobody hears of changes for a moment. */
const deafen = async ({ hands }: Change): Promise<void> => {
  await hands.query(
    `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'freehold changes' limit 1`,
  )
}

const cut = async ({ user }: Change): Promise<void> => pick(user.random, user.run.nodes).service.router.cut()

/** Well beyond what the router waits before it cancels what nobody waits for. */
const lockMs = 300

/** Keeps everyone waiting who works with the tenant's projects; somebody who writes loses patience. */
const lock = async ({ user }: Change): Promise<void> => {
  const { run, random } = user
  const tenant = free(user, false)
  if (tenant === undefined) return
  const client = new pg.Client(clientOptions({ ...run.world.superuser, database: tenant.facts.database }))
  client.on('error', () => {})
  await client.connect()
  await client.query('begin; lock table projects in access exclusive mode')
  const impatient = { ...patchProject(tenant, sharedId(3)), name: 'impatient', statuses: [200, 403] }
  await ask(user, tenant, tenant.admin, impatient, { hangUpMs: 150 + random() * 50 })
  await sleep(lockMs)
  await client.end()
}

/** What goes wrong or changes, by how often. */
export const troubles = [
  { name: 'kill', weight: 6, make: kill },
  { name: 'cancel', weight: 6, make: cancel },
  { name: 'suspend', weight: 4, make: suspend },
  { name: 'role', weight: 5, make: changeRole },
  { name: 'session', weight: 4, make: endSession },
  { name: 'slugs', weight: 5, make: swapSlugs },
  { name: 'trade', weight: 4, make: trade },
  { name: 'lock', weight: 3, make: lock },
  { name: 'cut', weight: 2, make: cut },
  { name: 'deafen', weight: 0.5, make: deafen },
] as const
