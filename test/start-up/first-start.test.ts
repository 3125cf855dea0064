import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { newDataDir, serversOf } from '../embedded-postgres/helpers.ts'
import { askUntilReady, clientOf, signIn } from './client.ts'
import { newWorkingFolder, startFreehold } from './process.ts'

t.test('the first start prints the addresses and the admin once, and the admin can sign in', async (t) => {
  const dataDir = await newDataDir(t)
  const freehold = startFreehold(t, dataDir)
  const { address, adminEmail, adminPassword } = await freehold.ready
  t.equal(adminEmail, 'admin@freehold.local')
  t.match(adminPassword, /^[\w-]{22}$/)
  t.match(freehold.out(), new RegExp(`Reference +${address}/docs\n`))
  t.equal(freehold.out().split(String(adminPassword)).length, 2, 'the password is printed once')
  t.same(freehold.errors(), [])

  const admin = await signIn(address, String(adminEmail), String(adminPassword))
  const context = await admin.call('GET', '/auth/context')
  t.match(context, { status: 200, body: { user: { email: adminEmail, platformAdmin: true } } })
  t.match(await askUntilReady(address), { status: 200, body: { status: 'ready' } })

  t.same(await freehold.end('SIGTERM'), { code: 0, signal: null })
  t.same(await serversOf(dataDir), [], 'no server is left')

  const next = startFreehold(t, dataDir)
  const summary = await next.ready
  t.comment(`seconds to ready of the next start: ${summary.seconds}`)
  t.notMatch(next.out(), /Password/, 'the second start shows no password')
  t.notMatch(next.out(), String(adminPassword))
  await signIn(summary.address, String(adminEmail), String(adminPassword))
  t.same(await next.end('SIGINT'), { code: 0, signal: null })
})

t.test(
  'ADMIN_EMAIL and ADMIN_PASSWORD make the first admin, and later starts leave them alone',
  async (t) => {
    const dataDir = await newDataDir(t)
    const chosen = { ADMIN_EMAIL: 'Boss@Example.com', ADMIN_PASSWORD: 'chosen by the operator' }
    const freehold = startFreehold(t, dataDir, { env: chosen })
    const { address, adminEmail, adminPassword } = await freehold.ready
    t.equal(adminEmail, 'boss@example.com')
    t.equal(adminPassword, undefined)
    t.notMatch(freehold.out(), chosen.ADMIN_PASSWORD, 'what the operator knows is not printed')
    await signIn(address, 'boss@example.com', chosen.ADMIN_PASSWORD)
    await freehold.end('SIGTERM')

    const other = { ADMIN_EMAIL: 'other@example.com', ADMIN_PASSWORD: 'something else' }
    const next = startFreehold(t, dataDir, { env: other })
    const again = await next.ready
    await signIn(again.address, 'boss@example.com', chosen.ADMIN_PASSWORD)
    await t.rejects(signIn(again.address, other.ADMIN_EMAIL, other.ADMIN_PASSWORD), /401/)
    await next.end('SIGTERM')
  },
)

t.test('.env in the working directory is read, and the environment wins over it', async (t) => {
  const dataDir = await newDataDir(t)
  const cwd = await newWorkingFolder(t)
  const text = ['ADMIN_EMAIL=from-file@example.com', 'LOG_LEVEL=verbose', `DATA_DIR=${dataDir}`, '']
  await writeFile(join(cwd, '.env'), text.join('\n'))
  const wrong = startFreehold(t, undefined, { cwd })
  t.same(await wrong.ended, { code: 2, signal: null })
  t.match(wrong.errors(), [/LOG_LEVEL must be one of/])
  t.same(await serversOf(dataDir), [])

  const freehold = startFreehold(t, undefined, { cwd, env: { LOG_LEVEL: 'warn' } })
  t.equal((await freehold.ready).adminEmail, 'from-file@example.com')
  await freehold.end('SIGTERM')
})

t.test('LOG_LEVEL=silent prints only the summary', async (t) => {
  const dataDir = await newDataDir(t)
  const freehold = startFreehold(t, dataDir, { env: { LOG_LEVEL: 'silent' } })
  const { address } = await freehold.ready
  await clientOf(address).call('GET', '/nowhere')
  await freehold.end('SIGTERM')
  t.match(freehold.out(), /^\n {2}Freehold \S+ is ready /)
  t.match(freehold.out(), /Ctrl-C stops\.\n\n$/)
  t.notMatch(freehold.out(), /^\{/m)
  t.same(freehold.errors(), [])
})
