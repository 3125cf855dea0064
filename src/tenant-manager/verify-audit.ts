import { type ChainReport, verifyChain } from '../kernel/audit-chain.ts'
import { ownerRoleName } from '../kernel/ids.ts'
import { anchorOf, findCheckpoint } from '../master/audit-checkpoints.ts'
import { getCluster } from './cluster.ts'
import type { Context } from './context.ts'
import { quoteName } from './provisioner.ts'

/** Verifies a tenant's audit log against the checkpoint in the master; undefined when it has no database. */
export const verifyAudit = async (context: Context, tenantId: string): Promise<ChainReport | undefined> => {
  const { db } = context.master
  const place = await db
    .selectFrom('tenants')
    .innerJoin('databases', 'databases.id', 'tenants.database_id')
    .select(['databases.name', 'databases.cluster_id'])
    .where('tenants.id', '=', tenantId)
    .executeTakeFirst()
  if (place === undefined) return undefined
  const cluster = await getCluster(db, context.box, place.cluster_id)
  const findAnchor = async () => anchorOf(await findCheckpoint(db, tenantId))
  return context.provisioner.use(
    cluster,
    async (client) => {
      await client.query(`set role ${quoteName(ownerRoleName(place.name))}`)
      return verifyChain(async (text, values) => (await client.query(text, [...values])).rows, findAnchor)
    },
    place.name,
  )
}
