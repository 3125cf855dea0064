import t from 'tap'
import { openCrashSite } from './crash.ts'

const { manager, cluster, killAtStatements, nothingIsLeft } = await openCrashSite(t)

t.test(
  'killed anywhere in building a database: one pass of the reconciler leaves nothing of it',
  async (t) => {
    await manager.buildDatabase(cluster.id)
    await killAtStatements(async () => ({ work: 'build' }))
    const found = await manager.inspect()
    t.ok(found.length > 2, 'the dead left something')
    t.strictSame([...new Set(found.map(({ kind }) => kind))], ['half_built_database'])
    await manager.repair()
    await nothingIsLeft(t)
  },
)
