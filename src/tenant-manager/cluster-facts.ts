import { type Cluster, listClusters } from './cluster.ts'
import type { Context } from './context.ts'
import { countSpares } from './refill-spares.ts'

const openClusters = async (context: Context): Promise<Cluster[]> =>
  (await listClusters(context.master.db, context.box)).filter(({ status }) => status === 'open')

const readVersion = (context: Context, cluster: Cluster): Promise<string> =>
  context.provisioner.use(cluster, async (client) => {
    const { rows } = await client.query<{ server_version: string }>('show server_version')
    return rows[0]?.server_version ?? 'unknown'
  })

/** Asks every open cluster for a sign of life; returns how many there are. Throws, naming the one that does not answer. */
export const pingClusters = async (context: Context): Promise<number> => {
  const clusters = await openClusters(context)
  const answers = await Promise.allSettled(clusters.map((cluster) => readVersion(context, cluster)))
  const silent = clusters.find((_, index) => answers[index]?.status === 'rejected')
  if (silent !== undefined) throw new Error(`cluster ${silent.name} does not answer`)
  return clusters.length
}

/** What is ready for the first tenants: usable spares on all open clusters, and the first one's PostgreSQL version. */
export const startFacts = async (context: Context): Promise<{ spares: number; postgres: string }> => {
  const clusters = await openClusters(context)
  const counts = await Promise.all(clusters.map((cluster) => countSpares(context, cluster)))
  const [first] = clusters
  return {
    spares: counts.reduce((sum, count) => sum + count, 0),
    postgres: first === undefined ? 'unknown' : await readVersion(context, first),
  }
}
