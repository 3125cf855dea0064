import { sql } from 'kysely'
import type { Config } from '../../../src/kernel/config.ts'
import { createSecretBox, type KeyRing, masterKeyId } from '../../../src/kernel/crypto.ts'
import { OperatorError } from '../../../src/kernel/errors.ts'
import { isInstalled, openInstallation, readKeyState } from '../../../src/master/installation.ts'
import type { MasterDb } from '../../../src/master/master.ts'
import { readMasterMigrations } from '../../../src/master/migrate-master.ts'
import { leftUnderOtherKeys } from '../../../src/master/rotate-master-key.ts'
import { allKeys } from '../../../src/open-master.ts'
import { probeServer } from '../../../src/tenant-manager/probe-server.ts'
import type { Grounds } from '../../grounds.ts'
import { findMasterKeys } from '../../installation.ts'
import { errorText, plural } from '../../output.ts'

/** One thing that was looked at: how it is, or what is wrong and what repairs it. */
export type Check = {
  name: string
  status: 'ok' | 'notice' | 'problem'
  detail: string
  /** Whether `--fix` knows what to do. */
  repairable: boolean
}

export const well = (name: string, detail: string): Check => ({
  name,
  status: 'ok',
  detail,
  repairable: false,
})
export const bad = (name: string, detail: string, repairable = false): Check => ({
  name,
  status: 'problem',
  detail,
  repairable,
})

/** Everything an OperatorError says, or the first line of any other error. */
export const whatFailed = (error: unknown): string =>
  error instanceof OperatorError ? error.lines.join('\n') : errorText(error)

/** Server connections that are not the tenants': the master's pools, the provisioner's, an operator's psql. */
const reserve = 40

/** Is the server there, new enough, and may we work on it? */
export const checkServer = async ({ config, provisioner }: Grounds): Promise<Check> => {
  try {
    const { version, maxConnections, reservedConnections } = await probeServer(provisioner)
    const free = maxConnections - reservedConnections - reserve
    if (config.connectionBudget !== undefined && config.connectionBudget > free) {
      return bad(
        'server',
        `CONNECTION_BUDGET is ${config.connectionBudget}, but of the server's ${maxConnections} connections ${Math.max(0, free)} are for tenants; lower it, or raise max_connections`,
      )
    }
    return well('server', `PostgreSQL ${version}, at most ${maxConnections} connections`)
  } catch (error) {
    return bad('server', whatFailed(error))
  }
}

/** Does the master answer, and how full is its server? */
export const checkMaster = async (db: MasterDb): Promise<Check> => {
  try {
    const { rows } = await sql<{ used: number }>`
      select sum(numbackends)::int as used from pg_stat_database`.execute(db)
    return well('master', `reachable; ${plural(rows[0]?.used ?? 0, 'connection')} in use on its server`)
  } catch (error) {
    return bad('master', `cannot be reached (${errorText(error)}); check the server and MASTER_DATABASE_URL`)
  }
}

const readApplied = async (db: MasterDb): Promise<Map<string, string>> => {
  const { rows: found } = await sql`select where to_regclass('freehold_migrations') is not null`.execute(db)
  if (found.length === 0) return new Map()
  const { rows } = await sql<{ name: string; checksum: string }>`
    select name, checksum from freehold_migrations`.execute(db)
  return new Map(rows.map(({ name, checksum }) => [name, checksum]))
}

/** Has the master every migration of this release, unchanged? */
export const checkMigrations = async (db: MasterDb): Promise<Check> => {
  const { migrations, latest } = await readMasterMigrations()
  const applied = await readApplied(db)
  const changed = migrations.filter(({ name, checksum }) => (applied.get(name) ?? checksum) !== checksum)
  if (changed.length > 0) {
    const names = changed.map(({ name }) => name).join(', ')
    return bad(
      'migrations',
      `${names} changed after it ran here; restore the file of the release and add a new migration`,
    )
  }
  const pending = migrations.filter(({ name }) => !applied.has(name)).map(({ name }) => name)
  if (pending.length === 0) return well('migrations', `the master is up to date (${latest})`)
  return bad(
    'migrations',
    `the master lacks ${pending.join(', ')}; freehold master migrate brings it up to date`,
    true,
  )
}

/** What the inspection of tenants and clusters needs. */
export type Opened = { box: KeyRing; installationId: string }

/** Is everything under the key that this installation seals under, and is that the configured one? */
const lookUnderKeys = async (config: Config, db: MasterDb, box: KeyRing): Promise<Check> => {
  const name = 'master key'
  const goOn = 'freehold keys rotate --master-key'
  const notice = (detail: string): Check => ({ name, status: 'notice', detail, repairable: false })
  const { from } = await readKeyState(db, box)
  const left = await leftUnderOtherKeys(db, box.keyId)
  const tables = left.map(({ table, count }) => `${table} ${count}`).join(', ')
  if (from !== undefined) {
    return notice(
      `is being rotated; still sealed under the previous key: ${tables || 'nothing'}; ${goOn} finishes it`,
    )
  }
  if (left.length > 0) {
    return bad(
      name,
      `does not open all: sealed under another key: ${tables}; ${goOn} with both keys set repairs it`,
    )
  }
  if (config.masterKey !== undefined && masterKeyId(config.masterKey) !== box.keyId) {
    return notice(`MASTER_KEY is not in use yet, MASTER_KEY_PREVIOUS is; ${goOn} changes over`)
  }
  const rest = config.previousMasterKey === undefined ? '' : '; nothing needs MASTER_KEY_PREVIOUS any more'
  return well(name, `opens what is sealed${rest}`)
}

/** Was the installation made, and does the master key open what it sealed? */
export const checkMasterKey = async (
  config: Config,
  db: MasterDb,
): Promise<{ check: Check; opened?: Opened }> => {
  if (!(await isInstalled(db))) {
    return {
      check: bad('installation', 'the master is empty: Freehold never started on it; npm start does', true),
    }
  }
  const keys = await findMasterKeys(config)
  if (keys === undefined) {
    return {
      check: bad(
        'master key',
        `is not in ${config.dataDir}; restore master.key from a backup, or set MASTER_KEY`,
      ),
    }
  }
  try {
    const box = createSecretBox(...allKeys(keys))
    // The row is there, so this only reads.
    const installationId = await openInstallation(db, box)
    return { check: await lookUnderKeys(config, db, box), opened: { box, installationId } }
  } catch (error) {
    return { check: bad('master key', whatFailed(error)) }
  }
}
