import type { Selectable } from 'kysely'
import type { SecretBox } from '../kernel/crypto.ts'
import { newId } from '../kernel/ids.ts'
import type { PostgresAddress } from '../kernel/postgres-address.ts'
import type { MasterDb } from '../master/master.ts'
import { openProvisioner, sealProvisioner } from '../master/secrets.ts'
import type { ClustersTable } from '../master/tables.ts'

/** A Postgres server on which tenant databases live, and how the provisioner logs in there (a secret). */
export type Cluster = Readonly<{
  id: string
  name: string
  kind: 'shared' | 'dedicated'
  region: string
  status: 'open' | 'draining' | 'closed'
  provisioner: PostgresAddress
}>

const toCluster = (row: Selectable<ClustersTable>, box: SecretBox): Cluster => ({
  id: row.id,
  name: row.name,
  kind: row.kind,
  region: row.region,
  status: row.status,
  provisioner: {
    host: row.host,
    port: row.port,
    ssl: row.ssl,
    ...openProvisioner(box, row.id, row.provisioner),
  },
})

/** All clusters that are not closed, oldest first. */
export const listClusters = async (db: MasterDb, box: SecretBox): Promise<Cluster[]> => {
  const rows = await db
    .selectFrom('clusters')
    .selectAll()
    .where('status', '<>', 'closed')
    .orderBy('created_at')
    .orderBy('id')
    .execute()
  return rows.map((row) => toCluster(row, box))
}

/** Throws when there is no such cluster. */
export const getCluster = async (db: MasterDb, box: SecretBox, id: string): Promise<Cluster> =>
  toCluster(await db.selectFrom('clusters').selectAll().where('id', '=', id).executeTakeFirstOrThrow(), box)

export type RegisterCluster = {
  db: MasterDb
  box: SecretBox
  provisioner: PostgresAddress
  region?: string
  name?: string
}

/**
 * Enters the server beside the master as a shared cluster, or brings its row up to date: host, port, TLS and login may
 * differ from the last start. Safe from many nodes at once.
 */
export const registerDefaultCluster = ({
  db,
  box,
  provisioner,
  region = 'local',
  name = 'default',
}: RegisterCluster): Promise<Cluster> =>
  db.transaction().execute(async (trx) => {
    const { host, port, ssl, ...login } = provisioner
    const id = newId()
    await trx
      .insertInto('clusters')
      .values({
        id,
        name,
        kind: 'shared',
        region,
        host,
        port,
        ssl,
        provisioner: sealProvisioner(box, id, login),
      })
      .onConflict((conflict) => conflict.column('name').doNothing())
      .execute()
    const row = await trx
      .selectFrom('clusters')
      .selectAll()
      .where('name', '=', name)
      .forUpdate()
      .executeTakeFirstOrThrow()
    const kept = toCluster(row, box)
    const same = Object.entries(provisioner).every(
      ([key, value]) => Reflect.get(kept.provisioner, key) === value,
    )
    if (same) return kept
    // Only when something changed: every node forgets its connections to the cluster's tenants on this update.
    await trx
      .updateTable('clusters')
      .set({ host, port, ssl, provisioner: sealProvisioner(box, row.id, login) })
      .where('id', '=', row.id)
      .execute()
    return { ...kept, provisioner }
  })
