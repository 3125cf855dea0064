import { type Cluster, listClusters } from './cluster.ts'
import { type ClusterSnapshot, readCluster } from './cluster-snapshot.ts'
import { type Context, roleConnectionLimit } from './context.ts'
import { findInMaster } from './find-in-master.ts'
import { findOnCluster } from './find-on-cluster.ts'
import { type Finding, findingKey } from './findings.ts'
import { readMaster } from './master-snapshot.ts'

/**
 * Compares the master with every cluster, in both directions, and returns what does not agree. Changes nothing. Looks
 * twice when it finds something: what a second look does not confirm was work under way.
 */
export const inspect = async (context: Context): Promise<Finding[]> => {
  const first = await look(context)
  if (first.length === 0) return first
  const confirmed = new Set((await look(context)).map(findingKey))
  return first.filter((finding) => confirmed.has(findingKey(finding)))
}

/** Clusters before the master: what is on a cluster has had its row since before it was made. */
const look = async (context: Context): Promise<Finding[]> => {
  const { db } = context.master
  const clusters = await listClusters(db, context.box)
  const snapshots = await Promise.all(clusters.map((cluster) => readOrReport(context, cluster)))
  const master = await readMaster(context)
  return [
    ...findInMaster(master, context.migrations.latest),
    ...snapshots.flatMap((snapshot) => {
      if ('kind' in snapshot) return [snapshot]
      const known = master.databases.filter(({ clusterId }) => clusterId === snapshot.cluster.id)
      return [
        ...findOnCluster(snapshot, known, roleConnectionLimit(context)),
        ...findFewSpares(context, snapshot.cluster, known),
      ]
    }),
  ]
}

const readOrReport = async (context: Context, cluster: Cluster): Promise<ClusterSnapshot | Finding> => {
  try {
    return await readCluster(context, cluster)
  } catch (error) {
    return {
      kind: 'cluster_unreachable',
      severity: 'problem',
      subject: cluster.name,
      message: `cluster ${cluster.name} cannot be looked at (${error instanceof Error ? error.message : String(error)}); check the server and the provisioner's login`,
      repairable: false,
      target: { clusterId: cluster.id },
    }
  }
}

const findFewSpares = (
  context: Context,
  cluster: Cluster,
  known: readonly { status: string; schemaVersion: string }[],
): Finding[] => {
  if (cluster.kind !== 'shared' || cluster.status !== 'open') return []
  const usable = known.filter(
    ({ status, schemaVersion }) => status === 'spare' && schemaVersion >= context.migrations.latest,
  ).length
  if (usable >= context.spareDatabases) return []
  return [
    {
      kind: 'too_few_spares',
      severity: 'notice',
      subject: cluster.name,
      message: `cluster ${cluster.name} has ${usable} of ${context.spareDatabases} spare databases; the worker builds the others`,
      repairable: true,
      target: { clusterId: cluster.id },
    },
  ]
}
