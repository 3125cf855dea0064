import { sql } from 'kysely'
import t from 'tap'
import { createLogger } from '../../src/kernel/log.ts'
import { openMaster } from '../../src/master/master.ts'
import { enqueue, queuedJobKeys } from '../../src/queue/enqueue.ts'
import { migrateQueue } from '../../src/queue/migrate-queue.ts'
import { startTestPostgres } from '../helpers/postgres.ts'

const postgres = await startTestPostgres(t)
const master = openMaster(postgres.master, createLogger('silent'))
const { db } = master
t.teardown(() => master.close())

type Job = { task_identifier: string; queue_name: string | null; key: string | null; max_attempts: number }
const jobs = async (): Promise<Job[]> =>
  (
    await sql<Job>`select task_identifier, queue_name, key, max_attempts from graphile_worker.jobs order by id`.execute(
      db,
    )
  ).rows
t.afterEach(() => sql`delete from graphile_worker._private_jobs`.execute(db))

t.test('the queue is set up by the owner of the master, by many nodes at once and again', async (t) => {
  await Promise.all([migrateQueue(master.pool), migrateQueue(master.pool), migrateQueue(master.pool)])
  await migrateQueue(master.pool)
  t.strictSame(await jobs(), [])
})

t.test('a job is there once its transaction commits, and never when it rolls back', async (t) => {
  await db.transaction().execute(async (trx) => {
    await enqueue(trx, 'provision-tenant', { tenantId: 'x' })
    t.strictSame(await jobs(), [])
  })
  t.equal((await jobs()).length, 1)
  await t.rejects(
    db.transaction().execute(async (trx) => {
      await enqueue(trx, 'provision-tenant', { tenantId: 'x' })
      throw new Error('no')
    }),
  )
  t.equal((await jobs()).length, 1)
})

t.test('options reach the queue', async (t) => {
  const runAt = new Date('2030-01-01T00:00:00Z')
  await enqueue(db, 'reconcile', {}, { jobKey: 'k', queue: 'q', maxAttempts: 3, runAt })
  t.strictSame(await jobs(), [{ task_identifier: 'reconcile', queue_name: 'q', key: 'k', max_attempts: 3 }])
  const { rows } = await sql<{ run_at: Date }>`select run_at from graphile_worker.jobs`.execute(db)
  t.strictSame(rows, [{ run_at: runAt }])
})

t.test('jobs with one key coalesce', async (t) => {
  await Promise.all(
    Array.from({ length: 10 }, () => enqueue(db, 'refill-spares', {}, { jobKey: 'refill-spares' })),
  )
  t.equal((await jobs()).length, 1)
})

t.test('the keys of waiting and running jobs are known, those of exhausted ones are not', async (t) => {
  for (const jobKey of ['waiting', 'running', 'exhausted'])
    await enqueue(db, 'reconcile', {}, { jobKey, maxAttempts: 1 })
  await sql`update graphile_worker._private_jobs set attempts = 1, locked_at = now(), locked_by = 'w' where key = 'running'`.execute(
    db,
  )
  await sql`update graphile_worker._private_jobs set attempts = 1 where key = 'exhausted'`.execute(db)
  const keys = await queuedJobKeys(db, ['waiting', 'running', 'exhausted', 'unknown'])
  t.strictSame(keys, new Set(['waiting', 'running']))
})
