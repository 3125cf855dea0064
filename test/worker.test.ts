import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { sql } from 'kysely'
import t, { type Test } from 'tap'
import { newId } from '../src/kernel/ids.ts'
import { createLogger } from '../src/kernel/log.ts'
import { enqueue } from '../src/queue/enqueue.ts'
import { startWorker, type Worker } from '../src/worker.ts'
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

const provision = (tenantId: string = newId()): Promise<void> => enqueue(db, 'provision-tenant', { tenantId })

t.test(
  'stopping waits for the running job and takes no new one; no signal handler is left or was made',
  async (t) => {
    const signals = process.listenerCount('SIGTERM')
    const release = Promise.withResolvers<void>()
    const started: string[] = []
    const worker = await start(t, async (id) => {
      started.push(id)
      await release.promise
    })
    t.equal(process.listenerCount('SIGTERM'), signals)
    await provision('first')
    await until(async () => started.length === 1)
    let stopped = false
    const stopping = worker.stop().then(() => {
      stopped = true
    })
    t.notOk(worker.ready())
    await provision('second')
    t.notOk(stopped)
    release.resolve()
    await stopping
    await worker.stop()
    t.strictSame(started, ['first'])
    t.equal(await jobsLeft(), 1)
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

t.test('the jobs of a killed worker run again at once when another one lives', async (t) => {
  const child = spawn(
    process.execPath,
    [fileURLToPath(new URL('tenant-manager/stuck-worker.ts', import.meta.url))],
    {
      stdio: ['pipe', 'pipe', 'inherit'],
    },
  )
  child.stdin.end(JSON.stringify({ master: postgres.master, provisioner: postgres.provisioner }))
  await provision('stuck')
  await new Promise((resolve) => child.stdout.once('data', resolve))
  const [deadId] = await lockedBy()
  t.match(deadId, /^pool-/)

  const ran: string[] = []
  await start(t, async (id) => {
    ran.push(id)
  })
  await provision('other')
  await until(async () => ran.includes('other'))
  t.strictSame(ran, ['other'], 'the job of a live worker is its own')
  child.kill('SIGKILL')
  await until(async () => ran.includes('stuck'))
  await until(async () => (await jobsLeft()) === 0)
  t.strictSame(ran, ['other', 'stuck'])
})

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
  const admin = await connectTo(t, postgres.superuser)
  await admin.query("select pg_terminate_backend(pid) from pg_stat_activity where datname = 'freehold'")
  // The pool finds out connection by connection.
  await until(() =>
    provision('after').then(
      () => true,
      () => false,
    ),
  )
  await until(async () => ran.includes('after'))
  const workers = (await lockedBy()).filter((id) => id !== null).map((id) => `worker:${id}`)
  await until(async () => (await manager.locks.whichHeld(workers)).size === workers.length)
  t.ok(worker.ready())
  blocked.resolve()
  await worker.stop()
})

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
