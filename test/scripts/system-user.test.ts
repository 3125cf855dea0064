import t from 'tap'
import { startEmbeddedPostgres } from '../../src/embedded-postgres/embedded-postgres.ts'
import { query } from '../embedded-postgres/helpers.ts'
import { newInstalledDataDir } from '../start-up/installed.ts'
import { addPerson, freeholdOn } from './helpers.ts'

const { dataDir } = await newInstalledDataDir(t)
const freehold = freeholdOn(dataDir)
const server = await startEmbeddedPostgres({ dataDir, durable: false })
t.teardown(() => server.stop())

const create = ['system-user', 'create', '--name', 'Billing', '--service-type', 'billing', '--email']

t.test('create prints the secret once, on standard output; the master has only its hash', async (t) => {
  const { code, stdout, stderr } = await freehold(...create, 'Billing@Example.com')
  t.equal(code, 0, stderr)
  const secret = /^secret +(fhs_\S{43})$/m.exec(stdout)?.[1] ?? ''
  t.equal(stdout.split(secret).length, 2, 'once')
  t.notMatch(stderr, /fhs_/)
  t.match(stdout, /^email +billing@example\.com$/m)
  const rows = await query(
    server.master,
    `select encode(secret_hash, 'hex') as hash from system_user_secrets`,
  )
  t.equal(rows.length, 1)
  t.notMatch(JSON.stringify(rows), secret)
  const taken = await freehold(...create, 'billing@example.com')
  t.match(taken, { code: 1, stdout: '' })
})

t.test('with a tenant and a role it is a member there, or nothing is made', async (t) => {
  await addPerson(server.master, 'ada@example.com')
  await freehold('tenant', 'create', 'acme', '--name', 'Acme', '--admin-email', 'ada@example.com')
  const half = await freehold(...create, 'half@example.com', '--tenant', 'acme')
  t.match(half, { code: 2, stdout: '', stderr: /--tenant and --role, or neither/ })
  const unknown = await freehold(...create, 'half@example.com', '--tenant', 'acme', '--role', 'Nonesuch')
  t.match(unknown, { code: 1, stdout: '', stderr: /no role Nonesuch/ })
  t.same(await query(server.master, "select id from people where email = 'half@example.com'"), [])
  const { code, stdout } = await freehold(
    ...create,
    'in@example.com',
    '--tenant',
    'acme',
    '--role',
    'Viewer',
    '--json',
  )
  t.equal(code, 0)
  const { id } = JSON.parse(stdout)
  t.same(
    await query(
      server.master,
      `select r.name from memberships m join roles r on r.id = m.role_id where person_id = '${id}'`,
    ),
    [{ name: 'Viewer' }],
  )
})

t.test('rotate gives another secret, list gives none, and all of it is audited', async (t) => {
  const rotated = await freehold(
    'system-user',
    'rotate',
    'billing@example.com',
    '--grace-days',
    '3',
    '--json',
  )
  t.equal(rotated.code, 0, rotated.stderr)
  t.match(JSON.parse(rotated.stdout), { email: 'billing@example.com', clientSecret: /^fhs_/ })
  t.match(await freehold('system-user', 'rotate', 'nobody@example.com'), {
    code: 1,
    stdout: '',
    stderr: /no such system user/,
  })
  const list = await freehold('system-user', 'list', '--json')
  t.notMatch(list.stdout, /fhs_/)
  t.match(JSON.parse(list.stdout).data, [
    { email: 'in@example.com' },
    { email: 'billing@example.com', secrets: 2 },
  ])
  t.match((await freehold('system-user', 'list')).stdout, /billing@example\.com +billing +the platform +2/)
  t.same(
    await query(
      server.master,
      "select actor_kind || ' ' || action as entry from audit_log where entity_type = 'system_user' order by id",
    ),
    ['created', 'created', 'role_set', 'secret_rotated'].map((action) => ({
      entry: `operator system_user.${action}`,
    })),
  )
})
