import t from 'tap'
import { openCrashSite } from './crash.ts'

const { manager, cluster, admin, killAtStatements, nothingIsLeft } = await openCrashSite(t)

t.test(
  'killed anywhere in building a database: one pass of the reconciler leaves nothing of it',
  async (t) => {
    await manager.buildDatabase(cluster.id)
    await killAtStatements(async () => ({ work: 'build' }))
    const found = await manager.inspect()
    t.ok(found.length > 5, 'the dead left something')
    t.strictSame([...new Set(found.map(({ kind }) => kind))], ['half_built_database'])
    await manager.repair()
    await nothingIsLeft(t)
  },
)

t.test('killed anywhere in building the template: the next build makes it whole', async (t) => {
  const withoutTemplate = async (): Promise<void> => {
    const { rows } = await admin.query(
      "select datname as name from pg_database where datname like 'freehold_template%'",
    )
    for (const { name } of rows) {
      await admin.query(`alter database ${name} with is_template false`)
      // The other node may be copying it.
      await admin.query(`drop database ${name} with (force)`).catch(() => {})
    }
  }
  await killAtStatements(
    async () => {
      await withoutTemplate()
      return { work: 'build' }
    },
    // What comes after the template is the test above.
    (statement) => statement <= 40,
  )
  await manager.repair()
  await manager.buildDatabase(cluster.id)
  await nothingIsLeft(t)
})
