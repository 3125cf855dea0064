import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { sql } from 'kysely'
import t, { type Test } from 'tap'
import { newId } from '../src/kernel/ids.ts'
import { createLogger } from '../src/kernel/log.ts'
import { enqueue } from '../src/queue/enqueue.ts'
import { startWorker, type Worker } from '../src/worker.ts'
import { noAccountTasks } from './helpers/no-account-tasks.ts'
import { connectTo, startTestPostgres } from './helpers/postgres.ts'
import { startLandlord } from './helpers/tenant-manager.ts'
import { until } from './helpers/until.ts'

const postgres = await startTestPostgres(t)
const { master, manager } = await startLandlord(t, postgres, { spareDatabases: 0 })
const { db } = master
const log = createLogger('silent')

/** A worker whose provisioning does what the test says. */
const start = async (t: Test, provisionTenant: (id: string) => Promise<void>): Promise<Worker> => {
  const worker = await startWorker({
    master,
    manager: { ...manager, provisionTenant },
    log,
    accountTasks: noAccountTasks,
    livenessInterval: 50,
  })
  t.teardown(() => worker.stop())
  return worker
}

const jobsLeft = async (): Promise<number> =>
  (await sql`select from graphile_worker.jobs where task_identifier = 'provision-tenant'`.execute(db)).rows
    .length

const lockedBy = async (): Promise<(string | null)[]> => {
  const { rows } = await sql<{ locked_by: string | null }>`
    select locked_by from graphile_worker.jobs where task_identifier = 'provision-tenant'`.execute(db)
  return rows.map((row) => row.locked_by)
}

const succeeds = (work: Promise<unknown>): Promise<boolean> =>
  work.then(
    () => true,
    () => false,
  )

const cutEveryConnection = async (t: Test): Promise<void> => {
  const admin = await connectTo(t, postgres.superuser)
  await admin.query("select pg_terminate_backend(pid) from pg_stat_activity where datname = 'freehold'")
}

const provision = (tenantId: string = newId()): Promise<void> => enqueue(db, 'provision-tenant', { tenantId })

t.test(
  'stopping waits for the running jobs, and afterwards none is taken; no signal handler is made',
  async (t) => {
    const signals = process.listenerCount('SIGTERM')
    const release = Promise.withResolvers<void>()
    const [started, ended]: [string[], string[]] = [[], []]
    const worker = await start(t, async (id) => {
      started.push(id)
      await release.promise
      ended.push(id)
    })
    t.equal(process.listenerCount('SIGTERM'), signals)
    await provision('first')
    await until(async () => started.length === 1)
    t.ok(worker.ready())
    const stopping = worker.stop().then(() => ended.slice())
    t.notOk(worker.ready())
    release.resolve()
    t.strictSame(await stopping, ['first'])
    await worker.stop()
    t.equal(await jobsLeft(), 0, 'what was done is off the queue')
    await provision('second')
    t.strictSame([started, await lockedBy()], [['first'], [null]])
  },
)

t.test('what waited runs when a worker starts, and a failed job is tried again later', async (t) => {
  const ran: string[] = []
  const worker = await start(t, async (id) => {
    ran.push(id)
    if (id === 'bad') throw new Error('no')
  })
  await until(async () => ran.includes('second'))
  await provision('bad')
  await until(async () => {
    const { rows } =
      await sql`select from graphile_worker.jobs where last_error = 'no' and attempts = 1`.execute(db)
    return rows.length === 1
  })
  await worker.stop()
  await sql`delete from graphile_worker._private_jobs`.execute(db)
})

t.test(
  'the jobs of a killed worker run again when another one lives, those of a live one do not',
  async (t) => {
    const fixture = fileURLToPath(new URL('tenant-manager/stuck-worker.ts', import.meta.url))
    const child = spawn(process.execPath, [fixture], { stdio: ['pipe', 'pipe', 'inherit'] })
    child.stdin.end(JSON.stringify({ master: postgres.master, provisioner: postgres.provisioner }))
    await provision('stuck')
    await new Promise((resolve) => child.stdout.once('data', resolve))
    const [stuckId] = await lockedBy()
    t.match(stuckId, /^pool-/)

    const ran: string[] = []
    const worker = await start(t, async (id) => {
      ran.push(id)
    })
    // The stuck worker may take a few of these: it has four slots.
    for (let n = 0; n < 8; n += 1) await provision(`other-${n}`)
    await until(async () => (await lockedBy()).every((id) => id === stuckId))
    t.notOk(ran.includes('stuck'), 'the job of a live worker is its own')
    child.kill('SIGKILL')
    await until(async () => (await jobsLeft()) === 0)
    t.strictSame(ran.sort(), [...Array.from({ length: 8 }, (_, n) => `other-${n}`), 'stuck'])
    await worker.stop()
  },
)

t.test('a worker that loses every connection goes on, and proves again that it lives', async (t) => {
  const ran: string[] = []
  const blocked = Promise.withResolvers<void>()
  const worker = await start(t, async (id) => {
    ran.push(id)
    if (id === 'long') await blocked.promise
  })
  t.teardown(() => blocked.resolve())
  await provision('long')
  await until(async () => ran.includes('long'))
  await cutEveryConnection(t)
  // The pool finds out connection by connection.
  await until(async () => succeeds(provision('after')))
  await until(async () => ran.includes('after'))
  await until(async () => worker.ready())
  blocked.resolve()
  await until(async () => (await jobsLeft().catch(() => 1)) === 0)
  const proof =
    "select from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = 'freehold')"
  const admin = await connectTo(t, postgres.superuser)
  // Its proof, and the lock of the one who seals audit logs.
  await until(async () => (await admin.query(proof)).rowCount === 2)
  await worker.stop()
  t.equal((await admin.query(proof)).rowCount, 0, 'it ends with the worker')
})

t.test(
  'a master lost at the very moment a job ends may cost a second run of it, never the process',
  async (t) => {
    const ran = new Set<string>()
    const worker = await start(t, async (id) => {
      // The statement that ends the job meets a dead connection, if it gets one of the old ones.
      if (!ran.has(id)) await cutEveryConnection(t)
      ran.add(id)
    })
    for (let n = 0; n < 5; n += 1) {
      await until(async () => succeeds(provision(`unlucky-${n}`)))
      await until(async () => (await jobsLeft().catch(() => 1)) === 0)
    }
    t.equal(ran.size, 5)
    await until(async () => worker.ready())
    await worker.stop()
  },
)

t.test('at its start a worker looks for what a crash left', async (t) => {
  const { id } = await manager.buildDatabase(
    (await db.selectFrom('clusters').select('id').executeTakeFirstOrThrow()).id,
  )
  await db.updateTable('databases').set({ status: 'building' }).where('id', '=', id).execute()
  await start(t, async () => {})
  await until(
    async () => (await db.selectFrom('databases').select('id').where('id', '=', id).execute()).length === 0,
  )
})

t.test('audit logs are pruned every night, by as many days as were asked for, or not at all', async (t) => {
  const pruned: number[] = []
  const run = async (auditRetentionDays: number | undefined): Promise<void> => {
    const worker = await startWorker({
      ...{ master, log, accountTasks: noAccountTasks, auditRetentionDays },
      manager: { ...manager, pruneAuditLogs: async (days) => void pruned.push(days) },
    })
    await enqueue(db, 'prune-audit', {})
    const left = () => sql`select from graphile_worker.jobs where task_identifier = 'prune-audit'`.execute(db)
    await until(async () => (await left()).rows.length === 0)
    await worker.stop()
  }
  await run(undefined)
  t.strictSame(pruned, [])
  await run(90)
  t.strictSame(pruned, [90])
  const { rows } =
    await sql`select from graphile_worker._private_known_crontabs where identifier = 'prune-audit'`.execute(
      db,
    )
  t.equal(rows.length, 1, 'by the clock too')
})
