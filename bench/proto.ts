import { fork } from 'node:child_process'
import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import autocannon from 'autocannon'
import { startEmbeddedPostgres } from '../src/embedded-postgres/embedded-postgres.ts'
import { provideMasterKey } from '../src/embedded-postgres/master-key.ts'
import { loadConfig } from '../src/kernel/config.ts'
import { createLogger } from '../src/kernel/log.ts'
import { openService } from '../src/service.ts'
import { buildApp } from '../src/app.ts'
import { sealedFor } from '../src/master/secrets.ts'

const N = Number(process.argv[2] ?? 1)
const seconds = Number(process.argv[3] ?? 4)
const dataDir = '/tmp/fh-proto'
await rm(dataDir, { recursive: true, force: true })
const pgs = await startEmbeddedPostgres({ dataDir, durable: false })
const masterKey = await provideMasterKey(dataDir)
const config = loadConfig({ DATA_DIR: dataDir, SPARE_DATABASES: '2', PUBLIC_URL: 'http://localhost:4000', JWT_EXPIRATION: '86400' })
const service = await openService(config, { master: pgs.master, provisioner: pgs.provisioner, masterKey }, createLogger('silent'))
const { app } = await buildApp(service, async () => [])
const call = async (method: string, url: string, token?: string, body?: unknown) => (await app.inject({ method: method as 'GET', url, headers: token ? { authorization: `Bearer ${token}` } : {}, ...(body ? { payload: body as object } : {}) })).json()
const work: { token: string; id: string; tenantId: string }[] = []
for (let i = 0; i < N; i++) {
  const s = await call('POST', '/auth/register', undefined, { email: `p${i}@example.com`, password: 'a long passphrase', firstName: 'x' })
  await service.manager.refillSpares()
  const tenant = await call('POST', '/tenants', s.accessToken, { name: `T${i}` })
  const sw = await call('POST', '/auth/switch', s.accessToken, { tenant: tenant.id })
  const p = await call('POST', '/api/projects', sw.accessToken, { name: 'Bridge', description: 'Over the river' })
  work.push({ token: sw.accessToken, id: p.id, tenantId: tenant.id })
}
const d = await service.master.db.selectFrom('tenants').innerJoin('databases', 'databases.id', 'tenants.database_id').selectAll('databases').where('tenants.id', '=', work[0]!.tenantId).executeTakeFirstOrThrow()
const password = service.box.open(d.secret, sealedFor.databaseSecret(d)).toString()
await app.close(); await service.close()

const run = async (name: string, file: string, env: Record<string, string>, ceiling: boolean, args: string[] = []) => {
  const port = 4700 + Math.floor(Math.random() * 200)
  const child = fork(file, [], { env: { ...process.env, ...env, PORT: String(port) }, execArgv: args })
  await once(child, 'message')
  const requests = work.map(({ token, id }) => ({ method: 'GET' as const, path: `/api/projects/${ceiling ? work[0]!.id : id}`, headers: ceiling ? {} : { authorization: `Bearer ${token}` } }))
  const shuffled = () => requests.map((r) => ({ r, k: Math.random() })).sort((a, b) => a.k - b.k).map(({ r }) => r)
  const cannon = (duration: number) => autocannon({ url: `http://127.0.0.1:${port}`, connections: 64, duration, requests, setupClient: (c) => { c.setRequests(shuffled()) } })
  await cannon(2)
  child.send('cpu'); const [a] = await once(child, 'message') as [NodeJS.CpuUsage]
  const result = await cannon(seconds)
  child.send('cpu'); const [b] = await once(child, 'message') as [NodeJS.CpuUsage]
  const n = result.requests.total
  console.log(name.padEnd(12), Math.round(result.requests.average), 'req/s', 'p99', result.latency.p99, 'ms', 'cpu/req', ((b.user + b.system - a.user - a.system) / n).toFixed(1), 'us', 'user', ((b.user - a.user) / n).toFixed(1), 'non2xx', result.non2xx, 'errors', result.errors)
  child.kill('SIGINT'); await once(child, 'exit')
}
const env = { SOCKET: pgs.master.host, DATABASE: d.name, PASSWORD: password, MASTER: JSON.stringify(pgs.master), PROV: JSON.stringify(pgs.provisioner), KEY: masterKey.toString('base64') }
const prof = process.argv[4] === 'prof' ? ['--cpu-prof', '--cpu-prof-dir=/tmp/prof'] : []
for (let i = 0; i < (prof.length ? 1 : 2); i++) {
  await run('ceiling', new URL('./servers/ceiling.ts', import.meta.url).pathname, env, true, [])
  await run('freehold', new URL('./servers/freehold.ts', import.meta.url).pathname, env, false, prof)
}
await pgs.stop()
