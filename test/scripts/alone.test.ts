import { setTimeout as sleep } from 'node:timers/promises'
import { Client } from 'pg'
import t from 'tap'
import { useLock } from '../../scripts/grounds.ts'
import { findRunningEmbeddedPostgres } from '../../src/embedded-postgres/embedded-postgres.ts'
import { clientOptions } from '../../src/kernel/postgres-address.ts'
import { readMasterMigrations } from '../../src/master/migrate-master.ts'
import { newDataDir, query, serversOf, until } from '../embedded-postgres/helpers.ts'
import { addPerson, freeholdOn, launcher, start, whileStarted } from './helpers.ts'

/** Commands where no Freehold runs: each starts the server for itself and leaves nothing behind. */

const dataDir = await newDataDir(t)
const freehold = freeholdOn(dataDir)
const ada = 'ada@example.com'
const wishes = ['--name', 'Acme', '--admin-email', ada]

t.afterEach(async () => {
  if ((await serversOf(dataDir)).length > 0) throw new Error('a command left its server running')
})

t.test('without tenants the list says what to do next', async (t) => {
  const { code, stdout } = await freehold('tenant', 'list')
  t.equal(code, 0)
  t.match(stdout, /^No tenants yet\. .*freehold tenant create <slug>/)
  const json = await freehold('--json', 'tenant', 'list')
  t.same(JSON.parse(json.stdout), { data: [], nextCursor: null })
  t.equal(json.stderr, '', 'a program is not told of the way there')
})

t.test('a tenant needs an Admin who has an account', async (t) => {
  const { code, stdout, stderr } = await freehold('tenant', 'create', 'acme', ...wishes)
  t.same({ code, stdout }, { code: 1, stdout: '' })
  t.match(stderr, /no account with ada@example\.com.*sign up first/)
  t.match(stderr, /no platform admin yet: npm start makes admin@freehold\.local/)
  await whileStarted(dataDir, ({ master }) => addPerson(master, ada))
})

t.test('create ends with an active tenant though no worker runs, and is audited', async (t) => {
  const { code, stdout, stderr } = await freehold(
    'tenant',
    'create',
    'acme',
    ...wishes,
    '--cluster',
    'default',
  )
  t.equal(code, 0, stderr)
  for (const line of [
    /^id +[0-9a-f-]{36}$/m,
    /^slug +acme$/m,
    /^status +active$/m,
    /^database +t_[a-z2-7]{26}$/m,
    /^cluster +default$/m,
    /^admin +ada@example\.com$/m,
  ])
    t.match(stdout, line)
  t.match(stderr, /^freehold: no spare database is free; building one for acme$/m)
  const id = /^id +(\S+)$/m.exec(stdout)?.[1] ?? ''
  const database = /^database +(\S+)$/m.exec(stdout)?.[1] ?? ''
  await whileStarted(dataDir, async ({ master, superuser }) => {
    t.same(
      await query(master, 'select actor_kind, actor_id, action, entity_type, entity_id from audit_log'),
      [
        {
          actor_kind: 'operator',
          actor_id: null,
          action: 'tenant.created',
          entity_type: 'tenant',
          entity_id: id,
        },
      ],
    )
    t.same(await query({ ...superuser, database }, 'select count(*)::int as n from projects'), [{ n: 0 }])
  })
})

t.test('a slug is given once', async (t) => {
  const { code, stdout, stderr } = await freehold('tenant', 'create', 'acme', ...wishes)
  t.same({ code, stdout }, { code: 1, stdout: '' })
  t.match(stderr, /^freehold: The slug acme is taken\./)
  const json = await freehold('tenant', 'create', 'acme', ...wishes, '--json')
  t.equal(json.code, 1)
  t.match(JSON.parse(json.stderr), { error: { code: 'slug_taken', message: /acme is taken/ } })
})

t.test('--no-wait leaves a tenant to the workers, and a place that nobody has is refused', async (t) => {
  const { code, stdout } = await freehold('tenant', 'create', 'later', ...wishes, '--no-wait', '--json')
  t.equal(code, 0)
  t.match(JSON.parse(stdout), {
    slug: 'later',
    status: 'pending',
    database: null,
    plan: 'free',
    tier: 'shared',
  })
  const mars = await freehold('tenant', 'create', 'mars', ...wishes, '--region', 'mars')
  t.equal(mars.code, 1)
  t.match(mars.stderr, /No server takes tenants .* region mars/)
  const elsewhere = await freehold('tenant', 'create', 'elsewhere', ...wishes, '--cluster', 'elsewhere')
  t.equal(elsewhere.code, 1)
  t.match(elsewhere.stderr, /No open server of the name elsewhere/)
})

t.test('list gives all in a table, and page by page', async (t) => {
  const { code, stdout } = await freehold('tenant', 'list')
  t.equal(code, 0)
  const lines = stdout.trimEnd().split('\n')
  t.match(lines[0], /^SLUG +NAME +STATUS +PLAN +REGION +DATABASE +CREATED$/)
  t.match(lines[1], /^later +Acme +pending +free +local +- +20/)
  t.match(lines[2], /^acme +Acme +active +free +local +t_[a-z2-7]{26} +20/)
  t.equal(lines.length, 3)
  t.equal(lines[0]?.indexOf('STATUS'), lines[2]?.indexOf('active'), 'columns stand below each other')

  const first = JSON.parse((await freehold('tenant', 'list', '--limit', '1', '--json')).stdout)
  t.match(first, { data: [{ slug: 'later' }], nextCursor: first.data[0].id })
  const second = JSON.parse(
    (await freehold('tenant', 'list', '--limit', '1', '--cursor', first.nextCursor, '--json')).stdout,
  )
  t.match(second, { data: [{ slug: 'acme', status: 'active', cluster: 'default' }], nextCursor: null })
})

t.test('a plan begins with its trial; one that is not there is refused', async (t) => {
  await whileStarted(dataDir, async ({ master }) => {
    await query(master, "insert into plans (key, name, trial_days) values ('pro', 'Pro', 14)")
  })
  const none = await freehold('tenant', 'create', 'planned', ...wishes, '--plan', 'nonesuch')
  t.match(none, { code: 1, stdout: '', stderr: /There is no such plan/ })
  const { code, stdout } = await freehold(
    ...['tenant', 'create', 'planned', ...wishes, '--plan', 'pro', '--no-wait', '--json'],
  )
  t.equal(code, 0)
  const { id, plan } = JSON.parse(stdout)
  t.equal(plan, 'pro')
  await whileStarted(dataDir, async ({ master }) => {
    t.same(await query(master, `select status, trials from subscriptions where tenant_id = '${id}'`), [
      { status: 'trialing', trials: ['pro'] },
    ])
  })
})

t.test('show finds a tenant by slug and by id', async (t) => {
  const bySlug = await freehold('tenant', 'show', 'acme', '--json')
  const tenant = JSON.parse(bySlug.stdout)
  t.match(tenant, {
    slug: 'acme',
    status: 'active',
    database: /^t_/,
    cluster: 'default',
    schemaVersion: /^\d{4}_/,
    members: 1,
  })
  const byId = await freehold('tenant', 'show', tenant.id)
  t.equal(byId.code, 0)
  t.match(byId.stdout, /^slug +acme$/m)
  t.match(byId.stdout, /^schema +\d{4}_/m)
  t.match(byId.stdout, /^members +1$/m)

  const none = await freehold('tenant', 'show', 'nobody', '--json')
  t.same({ code: none.code, stdout: none.stdout }, { code: 1, stdout: '' })
  t.match(JSON.parse(none.stderr), { error: { code: 'not_found', message: /no tenant nobody/ } })
})

t.test('text in the database cannot speak to the terminal', async (t) => {
  await whileStarted(dataDir, async ({ master }) => {
    await query(master, `update tenants set name = e'\\x1b]0;owned\\x07\\u202e' where slug = 'acme'`)
  })
  const { stdout } = await freehold('tenant', 'show', 'acme')
  for (const character of ['\u001b', '\u0007', '\u202e']) t.notOk(stdout.includes(character))
  t.match(stdout, /^name +\ufffd\]0;owned\ufffd\ufffd$/m)
})

t.test('a command that started the server does not stop it while another one uses it', async (t) => {
  const { outcome } = start(launcher, ['tenant', 'list', '--json'], { DATA_DIR: dataDir })
  const { master } = await until(() => findRunningEmbeddedPostgres({ dataDir }))
  const other = new Client({ ...clientOptions(master), application_name: 'freehold another command' })
  other.on('error', () => undefined)
  await other.connect()
  // As a second command does with the server it found.
  const { rows } = await other.query('select pg_try_advisory_lock_shared($1, $2) as held', useLock)
  t.strictSame(rows, [{ held: true }])
  await until(async () => {
    const waiting = await other.query("select from pg_locks where locktype = 'advisory' and not granted")
    return waiting.rowCount === 1
  })
  await other.end()
  t.match(await outcome, { code: 0, stderr: '' })
})

t.test('two commands at once share the server', async (t) => {
  const outcomes = await Promise.all(
    [1, 2].map((n) => freehold('tenant', 'create', `twin-${n}`, ...wishes, '--json')),
  )
  for (const { code, stdout, stderr } of outcomes) {
    t.equal(code, 0, stderr)
    t.match(JSON.parse(stdout), { status: 'active' })
  }
})

t.test('Ctrl-C stops the server it started and says so by its exit code', async (t) => {
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    const { child, outcome } = start(launcher, ['tenant', 'create', `cut-${code}`, ...wishes], {
      DATA_DIR: dataDir,
    })
    while ((await serversOf(dataDir)).length === 0) await sleep(5)
    child.kill(signal)
    t.match(await outcome, { code, stdout: '' })
    t.same(await serversOf(dataDir), [])
  }
})

t.test('master migrate runs what is pending and then has nothing to do', async (t) => {
  const dataDir = await newDataDir(t)
  const { migrations } = await readMasterMigrations()
  const first = await freeholdOn(dataDir)('master', 'migrate')
  t.same(first, { code: 0, stdout: `${migrations.map(({ name }) => name).join('\n')}\n`, stderr: '' })
  t.same(await freeholdOn(dataDir)('master', 'migrate'), {
    code: 0,
    stdout: 'The master database is up to date.\n',
    stderr: '',
  })
  const json = await freeholdOn(dataDir)('master', 'migrate', '--json')
  t.same(JSON.parse(json.stdout), { applied: [] })
})
