import { sql } from 'kysely'
import { type Master, type MasterDb, openMaster } from '../../../src/master/master.ts'
import { registerDefaultCluster } from '../../../src/tenant-manager/cluster.ts'
import type { Finding } from '../../../src/tenant-manager/findings.ts'
import type { Grounds } from '../../grounds.ts'
import { openManager } from '../../installation.ts'
import { plural } from '../../output.ts'
import {
  bad,
  type Check,
  checkMaster,
  checkMasterKey,
  checkMigrations,
  checkServer,
  type Opened,
  well,
  whatFailed,
} from './checks.ts'

/** What the doctor saw: its own checks, and what the tenant manager found. */
export type Examination = { checks: Check[]; findings: Finding[] }

const defaultCluster = 'default'

/** The address of a server that this command started is news to the master; nothing else about the cluster changes. */
const noteNewAddress = async ({ startedHere, provisioner }: Grounds, db: MasterDb, { box }: Opened) => {
  if (!startedHere) return
  const row = await db
    .selectFrom('clusters')
    .select('id')
    .where('name', '=', defaultCluster)
    .executeTakeFirst()
  if (row !== undefined) await registerDefaultCluster({ db, box, provisioner, name: defaultCluster })
}

const count = async (db: MasterDb) => {
  const { rows } = await sql<Record<'tenants' | 'pending' | 'spares' | 'databases' | 'clusters', number>>`
    select (select count(*) from tenants where status <> 'deleted')::int as tenants,
           (select count(*) from tenants where status = 'pending')::int as pending,
           (select count(*) from databases where status = 'spare')::int as spares,
           (select count(*) from databases)::int as databases,
           (select count(*) from clusters)::int as clusters`.execute(db)
  const [counts] = rows
  if (counts === undefined) throw new Error('the master did not count')
  return counts
}

const countChecks = async ({ config }: Grounds, db: MasterDb, findings: Finding[]): Promise<Check[]> => {
  const { tenants, pending, spares, databases, clusters } = await count(db)
  const checks = [
    well(
      'tenants',
      `${plural(tenants, 'tenant')}; ${plural(databases, 'database')}, spares among them, on ${plural(clusters, 'cluster')}`,
    ),
  ]
  if (!findings.some(({ kind }) => kind === 'too_few_spares')) {
    checks.push(well('spares', `${spares} ready, ${config.spareDatabases} wanted`))
  }
  if (pending > 0) {
    const detail = `${plural(pending, 'tenant')} without a database yet; a running worker builds it`
    checks.push({ name: 'pending', status: 'notice', detail, repairable: true })
  }
  return checks
}

const inspect = async (grounds: Grounds, master: Master, opened: Opened): Promise<Examination> => {
  await noteNewAddress(grounds, master.db, opened)
  const manager = openManager(grounds, master, opened.box, opened.installationId)
  try {
    const findings = await manager.inspect()
    return { checks: await countChecks(grounds, master.db, findings), findings }
  } catch (error) {
    return {
      checks: [bad('tenants', `could not be compared with the servers: ${whatFailed(error)}`)],
      findings: [],
    }
  } finally {
    await manager.close()
  }
}

/**
 * Looks at everything and changes nothing. One thing that is wrong hides what can only be seen through it: without the
 * master no tenant can be looked at.
 */
export const examine = async (grounds: Grounds): Promise<Examination> => {
  const checks = [await checkServer(grounds)]
  const stop = (check: Check): Examination => ({ checks: [...checks, check], findings: [] })
  const master = openMaster(grounds.master, grounds.log)
  try {
    const reachable = await checkMaster(master.db)
    if (reachable.status !== 'ok') return stop(reachable)
    checks.push(reachable)
    const migrated = await checkMigrations(master.db)
    if (migrated.status !== 'ok') return stop(migrated)
    checks.push(migrated)
    const { check, opened } = await checkMasterKey(grounds.config, master.db)
    if (opened === undefined) return stop(check)
    checks.push(check)
    const inside = await inspect(grounds, master, opened)
    return { checks: [...checks, ...inside.checks], findings: inside.findings }
  } finally {
    await master.close()
  }
}
