import type { SecretBox } from '../kernel/crypto.ts'
import type { PostgresAddress } from '../kernel/postgres-address.ts'
import { compiledOnce, type Master } from './master.ts'
import { sealedFor } from './secrets.ts'

/** Where a tenant's database is and how its own role logs in there. A tenant that may not be reached has no address. */
export type Placement =
  | Readonly<{ tenantId: string; status: 'pending' | 'deleted' }>
  | Readonly<{
      tenantId: string
      status: 'active' | 'suspended'
      databaseId: string
      clusterId: string
      epoch: number
      credentialVersion: number
      address: PostgresAddress
      /** Against other tenants, when connections are short. */
      weight: number
      /** The most server connections of the tenant by its plan, over all nodes; null: as many as any tenant may have. */
      maxConnections: number | null
    }>

/**
 * Looks tenants up: undefined when there is none with this id. Throws when the secret does not open, because the row was
 * tampered with or the master key is another one.
 */
export const findPlacement = (master: Master, box: SecretBox) => {
  const rowsOf = compiledOnce(master, (tenantId: string) =>
    master.db
      .selectFrom('tenants as t')
      .innerJoin('plans as p', 'p.key', 't.plan')
      .leftJoin('databases as d', (join) =>
        join.onRef('d.id', '=', 't.database_id').on('d.status', '=', 'held'),
      )
      .leftJoin('clusters as c', 'c.id', 'd.cluster_id')
      .select([
        't.status',
        'p.weight',
        'p.connections',
        'd.id',
        'd.cluster_id',
        'd.name',
        'd.secret',
        'd.credential_version',
        'd.epoch',
      ])
      .select(['c.host', 'c.port', 'c.ssl'])
      .where('t.id', '=', tenantId),
  )
  return async (tenantId: string): Promise<Placement | undefined> => {
    const [row] = await rowsOf(tenantId)
    if (row === undefined) return undefined
    const { status, id, cluster_id, name, secret, credential_version, epoch, host, port, ssl } = row
    if (status === 'pending' || status === 'deleted') return { tenantId, status }
    if (
      id === null ||
      cluster_id === null ||
      name === null ||
      secret === null ||
      credential_version === null ||
      epoch === null ||
      host === null ||
      port === null ||
      ssl === null
    ) {
      throw new Error(`tenant ${tenantId} is ${status} without a held database`)
    }
    const password = box.open(secret, sealedFor.databaseSecret({ id, cluster_id, name, credential_version }))
    return {
      tenantId,
      status,
      databaseId: id,
      clusterId: cluster_id,
      epoch,
      credentialVersion: credential_version,
      address: { host, port, ssl, database: name, user: name, password: password.toString() },
      weight: row.weight,
      maxConnections: row.connections,
    }
  }
}
