import t from 'tap'
import { startWorker } from '../../src/worker.ts'
import { startFreehold } from '../helpers/freehold.ts'
import { connectTo } from '../helpers/postgres.ts'
import { until } from '../helpers/until.ts'

/** A tenant's data is only in its own database: every table of the master is read, also those of the queue. */

const freehold = await startFreehold(t)
const { call, service, newTenant, asSuperuser, superuser } = freehold
const worker = await startWorker({ ...service })
t.teardown(() => worker.stop())

/** Each thing that is a tenant's own says this somewhere. */
const canary = 'fh-canary'
/** And what the master keeps of a tenant says this. */
const known = 'fh-known'

const listTables = `
  select format('%I.%I', nspname, relname) as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
   where relkind in ('r', 'p', 'm') and nspname not in ('pg_catalog', 'information_schema') and nspname not like 'pg_toast%'
   order by 1`
const holds = (table: string, word: string): string =>
  `select exists (select from ${table} x
    where x::text like '%${word}%' or x::text like '%${Buffer.from(word).toString('hex')}%') as yes`

type Ask = (sql: string) => Promise<Record<string, unknown>[]>
const tablesWith = async (ask: Ask, word: string): Promise<string[]> => {
  const found: string[] = []
  for (const { name } of await ask(listTables)) {
    const [row] = await ask(holds(String(name), word))
    if (row?.yes === true) found.push(String(name))
  }
  return found
}

t.test('what is a tenant’s own is in no table of the master', async (t) => {
  const admin = await newTenant()
  const send = async (method: string, url: string, body: object): Promise<string> => {
    const answer = await call(method, url, { token: admin.token, body })
    t.ok(answer.status < 300, `${method} ${url} ${answer.text}`)
    return String(answer.body.id)
  }
  const text = { text: canary }
  await send('PATCH', '/api/tenant', { name: known, settings: text, metadata: text })
  const workspaceId = await send('POST', '/api/workspaces', { name: canary, slug: canary })
  const project = await send('POST', '/api/projects', { name: canary, description: canary, workspaceId })
  await send('PATCH', `/api/projects/${project}`, { description: `${canary} again` })
  await send('POST', '/api/users', { email: `${canary}@example.com`, firstName: canary, lastName: canary })
  const csv = `email,firstName\n${canary}-2@example.com,${canary}\n${canary},refused`
  const schedule = { name: canary, type: 'echo', payload: text, cron: '0 0 1 1 *', timeZone: 'UTC' }
  await send('POST', '/api/schedules', schedule)
  const jobs = [
    await send('POST', '/api/jobs', { type: 'echo', payload: text, idempotencyKey: `${canary}-1` }),
    await send('POST', '/api/jobs', {
      type: 'users.import',
      payload: { csv },
      idempotencyKey: `${canary}-2`,
    }),
  ]
  for (const id of jobs) {
    await until(async () => {
      const { body } = await call('GET', `/api/jobs/${id}`, { token: admin.token })
      return body.status === 'succeeded'
    })
  }
  // One that is still to run, and what else may be under way.
  const runAt = new Date(Date.now() + 3_600_000).toISOString()
  await send('POST', '/api/jobs', { type: 'echo', payload: text, idempotencyKey: `${canary}-3`, runAt })
  await service.manager.deliverOutbox(admin.tenantId)
  await service.manager.sealAudit(admin.tenantId)
  await worker.stop()

  const master = await connectTo(t, { ...superuser, database: 'freehold' })
  const inMaster: Ask = async (sql) => (await master.query(sql)).rows
  t.strictSame(await tablesWith(inMaster, canary), [])
  t.ok((await tablesWith(inMaster, known)).includes('public.tenants'), 'the look finds what is there')
  const inTenant: Ask = (sql) => asSuperuser(admin.tenantId, sql)
  const own = ['audit_log', 'job_schedules', 'jobs', 'projects', 'settings', 'users', 'workspaces']
  t.strictSame(
    await tablesWith(inTenant, canary),
    own.map((table) => `public.${table}`),
    'each of them is where it belongs',
  )
})
