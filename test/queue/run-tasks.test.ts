import { sql } from 'kysely'
import t from 'tap'
import { createLogger } from '../../src/kernel/log.ts'
import { openMaster } from '../../src/master/master.ts'
import { enqueue } from '../../src/queue/enqueue.ts'
import { unlockWorkers } from '../../src/queue/locked-workers.ts'
import { migrateQueue } from '../../src/queue/migrate-queue.ts'
import { runTasks } from '../../src/queue/run-tasks.ts'
import { connectTo, startTestPostgres } from '../helpers/postgres.ts'
import { until } from '../helpers/until.ts'

const postgres = await startTestPostgres(t)
const log = createLogger('silent')
const master = openMaster(postgres.master, log)
t.teardown(() => master.close())
await migrateQueue(master.pool)

const jobsLeft = async () => (await sql`select from graphile_worker.jobs`.execute(master.db)).rows

/** From now on the end of jobs fails, as the loser of a deadlock does, while `condition` holds. */
const failEnds = (condition: string) =>
  sql
    .raw(`
    create or replace function lose() returns trigger language plpgsql as $$
    begin
      if ${condition} then
        raise exception 'deadlock detected' using errcode = 'deadlock_detected';
      end if;
      return old;
    end
    $$;
    create or replace trigger lose before delete on graphile_worker._private_jobs for each row execute function lose()`)
    .execute(master.db)

/** The end of one job fails, as the loser of a deadlock does, while the end of another one is under way. */
t.test(
  'a runner whose job could not be ended is followed by one that runs it again, and can be stopped',
  async (t) => {
    const { db } = master
    await sql`create table losers as select 'first' as id`.execute(db)
    await failEnds("exists (select from losers where id = old.payload->>'tenantId')")
    const ends: Record<string, PromiseWithResolvers<void>> = {
      first: Promise.withResolvers(),
      second: Promise.withResolvers(),
      third: Promise.withResolvers(),
    }
    const runs: string[] = []
    const tasks = await runTasks({
      pool: master.pool,
      log,
      handlers: {
        'tenant-outbox': async ({ tenantId }) => {
          runs.push(tenantId)
          // What runs again has nothing to wait for.
          const isFirstRun = runs.indexOf(tenantId) === runs.lastIndexOf(tenantId)
          if (isFirstRun) await ends[tenantId]?.promise
        },
      },
      cron: false,
      concurrency: 4,
      beforeFirstJob: async () => {},
      afterLastJob: (id) => unlockWorkers(db, [id]),
    })
    for (const tenantId of Object.keys(ends)) await enqueue(db, 'tenant-outbox', { tenantId })
    await until(async () => runs.length === 3)

    const brake = await connectTo(t, postgres.superuser)
    const inMaster = await connectTo(t, { ...postgres.superuser, database: postgres.master.database })
    await inMaster.query('begin')
    await inMaster.query(
      "select from graphile_worker._private_jobs where payload->>'tenantId' = 'second' for update",
    )
    ends.second?.resolve()
    await until(async () => (await brake.query('select from pg_locks where not granted')).rowCount !== 0)
    ends.first?.resolve()
    await until(async () => !tasks.ready())
    await sql`delete from losers`.execute(db)
    await inMaster.query('commit')
    // The queue's own count of ends under way is wrong from here on, and a job still runs.
    await until(async () => (await jobsLeft()).length === 2)
    ends.third?.reject(new Error('not this time'))

    await until(async () => runs.filter((run) => run === 'first').length === 2)
    await until(async () => (await jobsLeft()).length === 0)
    t.strictSame(runs.toSorted(), ['first', 'first', 'second', 'third', 'third'])
    await tasks.stop()
    t.notOk(tasks.ready())
  },
)

t.test('the end of a job that lost a deadlock is tried again', async (t) => {
  const { db } = master
  await sql`create sequence tries`.execute(db)
  await failEnds("nextval('tries') < 3")
  let runs = 0
  const tasks = await runTasks({
    pool: master.pool,
    log,
    handlers: {
      'tenant-outbox': async () => {
        runs += 1
      },
    },
    cron: false,
    concurrency: 4,
    beforeFirstJob: async () => {},
    afterLastJob: async () => {},
  })
  await enqueue(db, 'tenant-outbox', { tenantId: 'once' })
  await until(async () => runs > 0 && (await jobsLeft()).length === 0)
  t.equal(runs, 1)
  t.ok(tasks.ready(), 'the runner goes on')
  await tasks.stop()
})
