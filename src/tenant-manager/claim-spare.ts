import { sql } from 'kysely'
import type { MasterDb, MasterTransaction } from '../master/master.ts'
import type { DatabaseRow } from './build-database.ts'

export type Tier = 'shared' | 'dedicated' | 'external'
/** What a tenant asks of its place: a region, a cluster by its name, or any. */
export type Wanted = { region?: string | undefined; cluster?: string | undefined; tier: Tier }

export type ClaimedDatabase = DatabaseRow & { region: string }

/**
 * Takes the oldest usable spare and marks it `held`, in the caller's transaction: when that rolls back, it is a spare
 * again. Claims at the same time never wait for one another and never get the same one. A spare is usable when its
 * cluster is open and its schema at least `schemaVersion`; undefined when there is none.
 */
export const claimSpare = async (
  trx: MasterTransaction,
  wanted: Wanted,
  schemaVersion: string,
): Promise<ClaimedDatabase | undefined> => {
  // Spares are only kept on shared clusters; a server of one's own is built on demand.
  if (wanted.tier !== 'shared') return undefined
  return findingSpare(trx, wanted, schemaVersion)
    .with('claimed', (cte) =>
      cte
        .updateTable('databases')
        .from('spare')
        .set(heldNow)
        .whereRef('databases.id', '=', 'spare.id')
        .returningAll('databases')
        .returning('spare.region'),
    )
    .selectFrom('claimed')
    .selectAll()
    .executeTakeFirst()
}

export const heldNow = { status: 'held', updated_at: sql<Date>`now()` } as const

/** The beginning of a statement that goes on with the row `spare`, locked, if there is one, and must mark it `heldNow`. */
export const findingSpare = (db: MasterDb, wanted: Wanted, schemaVersion: string) =>
  db.with('spare', (cte) =>
    cte
      .selectFrom('databases as d')
      .innerJoin('clusters as c', 'c.id', 'd.cluster_id')
      .select(['d.id', 'c.region'])
      .where('d.status', '=', 'spare')
      .where('c.status', '=', 'open')
      .where('c.kind', '=', 'shared')
      .where(isAtLeast('d.schema_version', schemaVersion))
      .$if(wanted.region !== undefined, (query) => query.where('c.region', '=', wanted.region ?? ''))
      .$if(wanted.cluster !== undefined, (query) => query.where('c.name', '=', wanted.cluster ?? ''))
      .orderBy('d.created_at')
      .orderBy('d.id')
      .limit(1)
      .forUpdate('d')
      .skipLocked(),
  )

/** True when a schema version is this one or newer: names begin with four digits, so their order is their age. */
export const isAtLeast = (column: string, version: string) =>
  sql<boolean>`${sql.ref(column)} collate "C" >= ${version}`

/** The open clusters that take tenants with these wishes, oldest first. */
export const findFittingClusters = async (
  db: MasterDb,
  wanted: Wanted,
): Promise<{ id: string; region: string }[]> => {
  // Servers of a tenant's own are entered by an operator; none is picked here.
  if (wanted.tier !== 'shared') return []
  return db
    .selectFrom('clusters')
    .select(['id', 'region'])
    .where('status', '=', 'open')
    .where('kind', '=', 'shared')
    .$if(wanted.region !== undefined, (query) => query.where('region', '=', wanted.region ?? ''))
    .$if(wanted.cluster !== undefined, (query) => query.where('name', '=', wanted.cluster ?? ''))
    .orderBy('created_at')
    .orderBy('id')
    .execute()
}
