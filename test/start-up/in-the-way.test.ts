import { once } from 'node:events'
import { createServer } from 'node:net'
import t from 'tap'
import { newDataDir, serversOf } from '../embedded-postgres/helpers.ts'
import { askUntilReady, createTenantWithProject, projectNames, signIn, signUp } from './client.ts'
import { newInstalledDataDir } from './installed.ts'
import { startFreehold } from './process.ts'

t.test('a busy port: one line that names PORT, and the database server is stopped again', async (t) => {
  const { dataDir, adminPassword } = await newInstalledDataDir(t)
  const holder = createServer().listen(0, '127.0.0.1')
  t.teardown(() => holder.close())
  await once(holder, 'listening')
  const address = holder.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0

  const refused = startFreehold(t, dataDir, { env: { PORT: String(port) } })
  t.same(await refused.ended, { code: 1, signal: null })
  t.same(refused.errors(), [`freehold: Port ${port} on 127.0.0.1 is in use; set PORT to a free one`])
  t.same(await serversOf(dataDir), [], 'no server is left')

  const next = startFreehold(t, dataDir)
  const { address: free } = await next.ready
  await signIn(free, 'admin@freehold.local', adminPassword)
  await next.end('SIGINT')
})

t.test('a HOST that is none: one line that names it', async (t) => {
  const { dataDir } = await newInstalledDataDir(t)
  const refused = startFreehold(t, dataDir, { env: { HOST: 'nowhere.invalid', PORT: '0' } })
  t.same(await refused.ended, { code: 1, signal: null })
  t.same(refused.errors(), [
    'freehold: Cannot listen on nowhere.invalid:0; set HOST and PORT to what this user may have',
  ])
  t.notMatch(refused.out(), /connection was lost/)
})

t.test('a second start on one data folder says so and stops; the first goes on', async (t) => {
  const { dataDir } = await newInstalledDataDir(t)
  const first = startFreehold(t, dataDir)
  const { address } = await first.ready
  const ann = await signUp(address, 'ann@example.com', 'long enough')
  await createTenantWithProject(ann, 'acme')

  const second = startFreehold(t, dataDir)
  t.same(await second.ended, { code: 1, signal: null })
  t.same(second.errors(), [
    `freehold: Freehold already runs on ${dataDir} (process ${first.pid}); stop it, or set DATA_DIR to another folder`,
  ])
  t.equal(second.out(), '')
  t.same(await projectNames(ann, 'acme'), ['of acme'])
  await createTenantWithProject(ann, 'after')
  t.match(await askUntilReady(address), { status: 200 })
  t.same(await first.end('SIGTERM'), { code: 0, signal: null })
})

t.test('two starts at once on a new data folder: one wins, the other says so', async (t) => {
  const dataDir = await newDataDir(t)
  const both = [startFreehold(t, dataDir), startFreehold(t, dataDir)]
  const loser = await Promise.race(both.map((freehold) => freehold.ended.then(() => freehold)))
  t.match(loser.errors(), [/^freehold: Freehold already runs on /])
  t.equal((await loser.ended).code, 1)
  const [winner] = both.filter((freehold) => freehold !== loser)
  const summary = await winner?.ready
  await signIn(String(summary?.address), 'admin@freehold.local', String(summary?.adminPassword))
  t.same(await winner?.end('SIGINT'), { code: 0, signal: null })
})
