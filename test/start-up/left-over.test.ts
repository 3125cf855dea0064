import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { kill, newDataDir, serversOf, snapshot } from '../embedded-postgres/helpers.ts'
import { askUntilReady, createTenantWithProject, projectNames, signIn, signUp } from './client.ts'
import { newInstalledDataDir } from './installed.ts'
import { startFreehold } from './process.ts'

t.test('a server left over by kill -9 is taken over with everything in it', async (t) => {
  const { dataDir, adminPassword } = await newInstalledDataDir(t)
  const killed = startFreehold(t, dataDir)
  const first = await killed.ready
  await createTenantWithProject(await signUp(first.address, 'ann@example.com', 'long enough'), 'acme')
  await killed.end('SIGKILL')
  const left = await serversOf(dataDir)
  t.not(left.length, 0, 'the server outlived Freehold')

  const next = startFreehold(t, dataDir)
  const { address } = await next.ready
  const now = await serversOf(dataDir)
  t.notOk(
    now.some((pid) => left.includes(pid)),
    'it was stopped and started',
  )
  const ann = await signIn(address, 'ann@example.com', 'long enough')
  t.same(await projectNames(ann, 'acme'), ['of acme'])
  await createTenantWithProject(ann, 'acme-too')
  await signIn(address, 'admin@freehold.local', adminPassword)
  t.same(await next.end('SIGTERM'), { code: 0, signal: null })
})

t.test('PostgreSQL killed under Freehold: it says so and ends, and the next start goes on', async (t) => {
  const { dataDir } = await newInstalledDataDir(t)
  const freehold = startFreehold(t, dataDir, { env: { LOG_LEVEL: 'silent' } })
  const first = await freehold.ready
  await createTenantWithProject(await signUp(first.address, 'ann@example.com', 'long enough'), 'acme')
  for (const pid of await serversOf(dataDir)) kill(pid)
  t.same(await freehold.ended, { code: 1, signal: null })
  const says = /^freehold: .*PostgreSQL ended by SIGKILL.*\/postgres\/log\. Start Freehold again$/
  t.equal(
    freehold.errors().filter((line) => says.test(line)).length,
    1,
    'it says what happened and what to do',
  )

  const next = startFreehold(t, dataDir)
  const { address } = await next.ready
  t.same(await projectNames(await signIn(address, 'ann@example.com', 'long enough'), 'acme'), ['of acme'])
  await next.end('SIGINT')
})

t.test('what a killed first start left half-written is swept away', async (t) => {
  const dataDir = await newDataDir(t)
  await mkdir(join(dataDir, 'postgres.new-abc123', 'base'), { recursive: true })
  await writeFile(join(dataDir, 'postgres.new-abc123', 'PG_VERSION'), '18\n')
  const freehold = startFreehold(t, dataDir)
  const { address } = await freehold.ready
  t.match(await askUntilReady(address), { status: 200 })
  t.notOk((await readdir(dataDir)).some((name) => name.startsWith('postgres.new-')))
  await freehold.end('SIGINT')
})

t.test('a data folder that is incomplete is refused in one line and left as it is', async (t) => {
  const dataDir = await newDataDir(t)
  const data = join(dataDir, 'postgres')
  await mkdir(join(data, 'base'), { recursive: true })
  await writeFile(join(data, 'base', 'precious'), 'rows')
  const before = await snapshot(data)
  const freehold = startFreehold(t, dataDir)
  t.same(await freehold.ended, { code: 1, signal: null })
  t.match(freehold.errors(), [
    /^freehold: .* is not a complete PostgreSQL data folder .*restore it from a backup/,
  ])
  t.equal(freehold.out(), '')
  t.same(await snapshot(data), before)
})
