import type { Test } from 'tap'
import { newId } from '../../src/kernel/ids.ts'
import { createLogger } from '../../src/kernel/log.ts'
import { type MasterDb, openMaster } from '../../src/master/master.ts'
import { migrateMaster } from '../../src/master/migrate-master.ts'
import { startTestPostgres } from './postgres.ts'

/** A migrated master with nothing around it, for tests of what only reads and writes it. */
export const startPlainMaster = async (
  t: Test,
): Promise<{ db: MasterDb; newPerson: (email?: string) => Promise<string> }> => {
  const postgres = await startTestPostgres(t)
  await migrateMaster(postgres.master)
  const master = openMaster(postgres.master, createLogger('silent'))
  t.teardown(() => master.close())
  return {
    db: master.db,
    newPerson: async (email) => {
      const id = newId()
      await master.db
        .insertInto('people')
        .values({ id, email: email ?? `${id}@example.com`, first_name: 'Test' })
        .execute()
      return id
    },
  }
}
