import { inspect } from 'node:util'
import { sql } from 'kysely'
import type { TenantDb } from '../../src/connection-router/tenant-db.ts'
import { isAppError } from '../../src/kernel/errors.ts'
import { newId } from '../../src/kernel/ids.ts'
import type { TenantTables } from '../../src/tenant/tables.ts'
import { canaryOf, sharedId, sharedRows } from './canaries.ts'
import { pick, type User } from './fuzz-run.ts'
import { weighted } from './requests.ts'
import type { Tenant } from './tenant.ts'

type Db = TenantDb<TenantTables>
type Row = Record<string, unknown>

/** What a piece of work has: its tenant's handle, and somebody who looks at every row it gets. */
type Desk = Readonly<{ db: Db; tenant: Tenant; random: () => number; see: (rows: readonly Row[]) => void }>

type Work = Readonly<{
  name: string
  weight: number
  writes: boolean
  run: (desk: Desk) => Promise<void>
  /** The SQLSTATE it must end with, where it can't end well. */
  ends?: string
  /** The tenant's canary is in that error. */
  carries?: boolean
}>

const text = ({ facts }: Tenant): string => `${canaryOf(facts.index)} ${newId()}`
const changedMyMind = new Error('changed my mind')

/** Statements side by side on one connection, each with its own answer. */
const sideBySide = async ({ db, see }: Desk): Promise<void> => {
  const ids = Array.from({ length: sharedRows }, (_, row) => sharedId(row))
  const answers = await Promise.all(
    ids.map((id) => db.selectFrom('projects').selectAll().where('id', '=', id).execute()),
  )
  for (const [row, answer] of answers.entries()) {
    see(answer)
    if (answer[0]?.id !== ids[row]) throw new Error(`the answer to ${ids[row]} was ${answer[0]?.id}`)
  }
}

const transaction = async ({ db, tenant, random, see }: Desk): Promise<void> => {
  const id = sharedId(Math.floor(random() * sharedRows))
  const description = text(tenant)
  await db.transaction().execute(async (trx) => {
    see(await trx.selectFrom('projects').selectAll().limit(5).execute())
    await trx.updateTable('projects').set({ description }).where('id', '=', id).execute()
    const rows = await trx.selectFrom('projects').selectAll().where('id', '=', id).execute()
    see(rows)
    if (rows[0]?.description !== description) throw new Error('a transaction does not see what it wrote')
    if (random() < 0.2) throw changedMyMind
  })
}

const snapshot = async ({ db, see }: Desk): Promise<void> => {
  await db
    .transaction()
    .setIsolationLevel('repeatable read')
    .execute(async (trx) => {
      see(await trx.selectFrom('projects').selectAll().limit(5).execute())
      see(await trx.selectFrom('workspaces').selectAll().execute())
    })
}

const stream = async ({ db, random, see }: Desk): Promise<void> => {
  const last = 1 + Math.floor(random() * 12)
  let rows = 0
  for await (const row of db.selectFrom('projects').selectAll().stream(3)) {
    see([row])
    rows += 1
    if (rows === last) break
  }
}

const whoAmI = async ({ db, see }: Desk): Promise<void> => {
  const { rows } =
    await sql<Row>`select p.name, current_database() as database from projects p limit 1`.execute(db)
  see(rows)
}

const duplicate = async ({ db, tenant }: Desk): Promise<void> => {
  const canary = canaryOf(tenant.facts.index)
  await db.insertInto('workspaces').values({ id: newId(), slug: canary, name: canary }).execute()
}

const noId = async ({ db, tenant }: Desk): Promise<void> => {
  await sql`select ${canaryOf(tenant.facts.index)}::text::uuid`.execute(db)
}

const tooSlow = async ({ db, see }: Desk): Promise<void> => {
  await db.transaction().execute(async (trx) => {
    await sql`set local statement_timeout = '5ms'`.execute(trx)
    see(await trx.selectFrom('projects').selectAll().limit(2).execute())
    await sql`select pg_sleep(5)`.execute(trx)
  })
}

const works: readonly Work[] = [
  { name: 'side by side', weight: 6, writes: false, run: sideBySide },
  { name: 'who am I', weight: 4, writes: false, run: whoAmI },
  { name: 'transaction', weight: 4, writes: true, run: transaction },
  { name: 'snapshot', weight: 3, writes: false, run: snapshot },
  { name: 'stream', weight: 4, writes: false, run: stream },
  { name: 'duplicate', weight: 3, writes: true, run: duplicate, ends: '23505', carries: true },
  { name: 'no id', weight: 2, writes: true, run: noId, ends: '22P02', carries: true },
  { name: 'too slow', weight: 1, writes: false, run: tooSlow, ends: '57014' },
]

/** Busy, away, suspended: every caller must reckon with these. */
const refusals = new Set(['overloaded', 'database_unavailable', 'tenant_suspended'])
/** A cancelled statement, an administrator's lock. */
const interrupted = new Set(['57014', '55P03'])

const left = new Error('nobody waits any more')

const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : String(error)

const isExpected = (error: unknown, { ends }: Work, aborted: boolean): boolean => {
  if (error === changedMyMind || (aborted && error === left)) return true
  const code = codeOf(error)
  return code === ends || interrupted.has(code) || (isAppError(error) && refusals.has(code))
}

const abortSoon = (random: () => number): AbortSignal | undefined => {
  if (random() > 0.15) return undefined
  const controller = new AbortController()
  setTimeout(() => controller.abort(left), random() * 10)
  return controller.signal
}

/** Looks at rows as at answers: nothing foreign in them, and something of the tenant's own. */
const onlooker = (user: User, tenant: Tenant, moment: number, where: string): Desk['see'] => {
  const { run } = user
  return (rows) => {
    const evidence = JSON.stringify(rows)
    const own = run.inspect(where, tenant, moment, evidence)
    const finding = { where, tenant: tenant.facts.index, evidence }
    if (own === 0) run.found({ what: 'no canary', ...finding })
    const names = [...tenant.allowedSince(moment)].map((canary) => run.world.tenants[canary]?.database)
    for (const { database } of rows)
      if (database !== undefined && !names.includes(String(database)))
        run.found({ what: 'database', ...finding })
  }
}

/** Does one piece of work with a node's router, beside HTTP. */
export const useRouter = async (user: User, tenant: Tenant): Promise<void> => {
  const { run, random } = user
  const { moment, facts } = tenant
  const work = weighted(
    random,
    works.filter(({ writes }) => !(writes && tenant.trades)),
  )
  const { name } = work
  const signal = abortSoon(random)
  const { router } = pick(random, run.nodes).service
  const see = onlooker(user, tenant, moment, name)
  try {
    await router.use(facts.id, (db) => work.run({ db, tenant, random, see }), { signal })
    run.count(name, 'done')
    if (work.ends !== undefined)
      run.found({ what: 'no error', where: name, tenant: facts.index, evidence: '' })
  } catch (error) {
    run.count(name, error === left ? 'aborted' : codeOf(error))
    const evidence = inspect(error, { depth: 8, maxStringLength: 10_000 })
    const own = run.inspect(`${name}: its error`, tenant, moment, evidence)
    const finding = { where: name, tenant: facts.index, evidence }
    if (!isExpected(error, work, signal !== undefined)) run.found({ what: 'error', ...finding })
    if (work.carries && codeOf(error) === work.ends && own === 0) run.found({ what: 'no canary', ...finding })
  }
}
