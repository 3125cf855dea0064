import t from 'tap'
import { openCrashSite } from './crash.ts'

const { manager, cluster, admin, killAtStatements, nothingIsLeft } = await openCrashSite(t)

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
    // What comes after the template is in crash-build.test.ts.
    (statement) => statement <= 40,
  )
  await manager.repair()
  await manager.buildDatabase(cluster.id)
  await nothingIsLeft(t)
})
