import { spawn } from 'node:child_process'
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { findPlacement } from '../../src/master/placement.ts'
import { connectTo, refusalOf, startTestPostgres } from '../helpers/postgres.ts'
import { startLandlord } from '../helpers/tenant-manager.ts'
import { until } from '../helpers/until.ts'
import type { Orders } from './doomed-node.ts'

const postgres = await startTestPostgres(t)
const landlord = await startLandlord(t, postgres, { spareDatabases: 0 })
const { master, manager, createTenant } = landlord
const { db } = master
const admin = await connectTo(t, postgres.superuser)
const addresses = { master: postgres.master, provisioner: postgres.provisioner }

/** Runs a node until it kills itself or is done; returns the number of statements of a node that lived. */
const runNode = async (orders: Omit<Orders, 'addresses'>): Promise<number | undefined> => {
  const node = spawn(process.execPath, [fileURLToPath(new URL('doomed-node.ts', import.meta.url))], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  node.stdin.end(JSON.stringify({ ...orders, addresses }))
  const ended = new Promise<NodeJS.Signals | null>((resolve) =>
    node.on('close', (_, signal) => resolve(signal)),
  )
  const printed = await text(node.stdout)
  const signal = await ended
  if (signal === null && printed === '') throw new Error('the node failed by itself')
  return signal === 'SIGKILL' ? undefined : Number(printed)
}

/** Kills a node at each of its statements, two nodes at a time. */
const killAtEveryStatement = async (
  next: () => Promise<Omit<Orders, 'addresses' | 'killAt' | 'when'>>,
): Promise<number> => {
  const total = await runNode({ ...(await next()), killAt: 0, when: 'before' })
  if (total === undefined) throw new Error('the first node was to live')
  const deaths = Array.from({ length: total }, (_, n) => n + 1).flatMap((killAt) => [
    { killAt, when: 'before' as const },
    { killAt, when: 'after' as const },
  ])
  const queue = deaths.values()
  const run = async (): Promise<void> => {
    for (const death of queue) await runNode({ ...(await next()), ...death })
  }
  await Promise.all([run(), run()])
  // What the dead had on its way is still being executed by the server.
  await until(async () => {
    const { rowCount } = await admin.query(
      "select from pg_stat_activity where application_name like 'freehold prov%'",
    )
    return rowCount === 0
  })
  return total
}

/** Everything on the server that could be ours, against everything that the master knows. */
const nothingIsLeft = async (t: Test): Promise<void> => {
  t.strictSame(await manager.inspect(), [])
  const known = (await db.selectFrom('databases').select(['name', 'status']).execute()).map((row) => row.name)
  const { rows: databases } = await admin.query(
    "select datname as name from pg_database where datname like 't\\_%'",
  )
  t.strictSame(databases.map((row) => row.name).sort(), [...known].sort())
  const { rows: roles } = await admin.query("select rolname as name from pg_roles where rolname like 't\\_%'")
  t.strictSame(roles.map((row) => row.name).sort(), known.flatMap((name) => [name, `${name}_owner`]).sort())
  const { rows: unfinished } = await admin.query(
    "select from pg_database where datname like 'freehold_unfinished%'",
  )
  t.strictSame(unfinished, [])
  t.strictSame(await db.selectFrom('operations').selectAll().where('status', '=', 'running').execute(), [])
  const statuses = await db.selectFrom('databases').select('status').distinct().execute()
  t.strictSame(
    statuses.filter(({ status }) => status === 'building' || status === 'erasing'),
    [],
  )
}

t.test(
  'killed anywhere in building a database: one pass of the reconciler leaves nothing of it',
  async (t) => {
    await manager.buildDatabase(landlord.cluster.id)
    const statements = await killAtEveryStatement(async () => ({ work: 'build' }))
    t.ok(statements > 10)
    await manager.repair()
    await nothingIsLeft(t)
  },
)

t.test('killed anywhere in erasing a database: one pass of the reconciler ends the work', async (t) => {
  const before = await db.selectFrom('databases').selectAll().execute()
  await killAtEveryStatement(async () => {
    const { id } = await manager.buildDatabase(landlord.cluster.id)
    await db.updateTable('databases').set({ status: 'erasing' }).where('id', '=', id).execute()
    return { work: 'erase', id }
  })
  await manager.repair()
  await nothingIsLeft(t)
  t.equal((await db.selectFrom('databases').selectAll().execute()).length, before.length)
})

t.test('killed anywhere in building the template: the next build makes it whole', async (t) => {
  await killAtEveryStatement(async () => {
    const { rows } = await admin.query(
      "select datname as name from pg_database where datname like 'freehold_template%'",
    )
    for (const { name } of rows) {
      await admin.query(`alter database ${name} with is_template false`)
      await admin.query(`drop database ${name} with (force)`).catch(() => {})
    }
    return { work: 'build' }
  })
  await manager.repair()
  await manager.buildDatabase(landlord.cluster.id)
  await nothingIsLeft(t)
})

t.test('killed anywhere in provisioning: every acknowledged tenant gets a database that works', async (t) => {
  await db.updateTable('databases').set({ status: 'erasing' }).where('status', '=', 'spare').execute()
  await manager.repair()
  await killAtEveryStatement(async () => ({ work: 'provision', id: (await createTenant()).id }))
  await manager.repair()
  const pending = await db.selectFrom('tenants').select('id').where('status', '=', 'pending').execute()
  for (const { id } of pending) await manager.provisionTenant(id)
  await nothingIsLeft(t)
  const tenants = await db.selectFrom('tenants').select(['id', 'status']).execute()
  t.strictSame(new Set(tenants.map((tenant) => tenant.status)), new Set(['active']))
  for (const { id } of tenants) {
    const placement = await findPlacement(db, landlord.box)(id)
    if (placement?.status !== 'active') throw new Error('the tenant has no placement')
    t.equal(await refusalOf(placement.address, 'select from projects'), undefined)
  }
})
