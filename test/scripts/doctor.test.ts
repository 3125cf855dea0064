import { rename, stat } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { startEmbeddedPostgres } from '../../src/embedded-postgres/embedded-postgres.ts'
import { makeMasterKey } from '../../src/embedded-postgres/master-key.ts'
import { databaseName, newId, ownerRoleName } from '../../src/kernel/ids.ts'
import { newDataDir, query, serversOf } from '../embedded-postgres/helpers.ts'
import { addPerson, freeholdOn } from './helpers.ts'

/** Commands beside a Freehold that runs: this process is the one that runs the server. */

const dataDir = await newDataDir(t)
const freehold = freeholdOn(dataDir)

const server = await startEmbeddedPostgres({ dataDir, durable: false })
t.teardown(() => server.stop())

const diagnose = async (t: Test, ...args: string[]) => {
  const { code, stdout, stderr } = await freehold('doctor', '--json', ...args)
  t.equal(stderr, '')
  const report = JSON.parse(stdout)
  t.equal(report.ok, code === 0, 'the exit code says what the report says')
  return report
}

const faults = (report: { findings: { severity: string; kind: string }[] }): string[] =>
  report.findings.filter(({ severity }) => severity === 'problem').map(({ kind }) => kind)

t.test('where nothing was ever started the doctor says so and makes nothing', async (t) => {
  const dataDir = await newDataDir(t)
  const { code, stdout } = await freeholdOn(dataDir)('doctor')
  t.equal(code, 1)
  t.match(stdout, /^✗ installation .*npm start makes it/)
  await t.rejects(stat(dataDir), { code: 'ENOENT' })
})

t.test('an empty master is a problem, and looking at it leaves it empty', async (t) => {
  t.same(faults(await diagnose(t)), ['migrations'])
  t.same(await query(server.master, 'select tablename from pg_tables where tableowner = current_user'), [])
  t.equal((await freehold('master', 'migrate')).code, 0)
  t.same(faults(await diagnose(t)), ['installation'])
  t.same(await query(server.master, 'select id from installation'), [])
  await t.rejects(stat(join(dataDir, 'master.key')), { code: 'ENOENT' })
})

t.test('beside a running Freehold commands use its server and leave it running', async (t) => {
  await makeMasterKey(dataDir)
  await addPerson(server.master, 'ada@example.com')
  const { code, stdout, stderr } = await freehold(
    'tenant',
    'create',
    'acme',
    '--name',
    'Acme',
    '--admin-email',
    'Ada@Example.com',
    '--json',
  )
  t.equal(code, 0, stderr)
  t.match(JSON.parse(stdout), { slug: 'acme', status: 'active', cluster: 'default' })
  t.equal((await freehold('tenant', 'show', 'acme')).code, 0)
  t.match((await freehold('tenant', 'list')).stdout, /^acme +Acme +active/m)
  t.not((await serversOf(dataDir)).length, 0)
  t.same(await query(server.master, 'select 1 as one'), [{ one: 1 }])
})

t.test('missing spares are work that is due, not a problem; --fix builds them', async (t) => {
  const before = await freehold('doctor')
  t.equal(before.code, 0)
  t.match(before.stdout, /^! too_few_spares .* 0 of 1 /m)
  t.match(before.stdout, /^No problems; 1 notice\.$/m)
  const after = await freehold('doctor', '--fix')
  t.equal(after.code, 0)
  t.match(after.stdout, /^✓ too_few_spares +repaired: /m)
  t.match(after.stdout, /^✓ spares +1 ready, 1 wanted$/m)
})

t.test('a sound installation has a line for each check and exits 0', async (t) => {
  const { code, stdout, stderr } = await freehold('doctor')
  t.same({ code, stderr }, { code: 0, stderr: '' })
  for (const line of [
    /^✓ server +PostgreSQL 18\./m,
    /^✓ master +reachable/m,
    /^✓ migrations +the master is up to date/m,
    /^✓ master key +opens/m,
    /^✓ tenants +1 tenant; 2 databases/m,
    /^All is well\.$/m,
  ])
    t.match(stdout, line)
  t.notMatch(stdout, /[✗!]/)
  t.notOk(stdout.includes('\u001b'), 'no colours where no terminal is')
  t.match(await diagnose(t), { ok: true, findings: [], repaired: [] })
})

const publicMayConnect = async (database: string): Promise<unknown> =>
  query(server.superuser, `select has_database_privilege('public', '${database}', 'CONNECT') as open`)

t.test('a planted fault is found, left alone, and repaired with --fix', async (t) => {
  const [row] = await query(server.master, "select name from databases where status = 'held'")
  const { name } = row as { name: string }
  await query(server.superuser, `grant connect on database ${name} to public`)

  const orphan = databaseName(newId())
  const [installation] = await query(server.master, 'select id from installation')
  const [template] = await query(
    server.superuser,
    "select datname as name from pg_database where datname like 'freehold_template_%'",
  )
  await query(
    server.provisioner,
    "set createrole_self_grant = 'set, inherit'",
    `create role ${ownerRoleName(orphan)} nologin`,
    `comment on role ${ownerRoleName(orphan)} is 'freehold ${(installation as { id: string }).id}'`,
    `create role ${orphan} login`,
    `create database ${orphan} template ${(template as { name: string }).name} owner ${ownerRoleName(orphan)}`,
  )

  const found = await diagnose(t)
  t.same(faults(found).sort(), ['open_to_others', 'orphan_database'])
  t.match(
    found.findings.find(({ kind }: { kind: string }) => kind === 'open_to_others'),
    {
      subject: name,
      message: /PUBLIC/,
      repairable: true,
    },
  )
  const text = await freehold('doctor')
  t.equal(text.code, 1)
  t.match(text.stdout, new RegExp(`^✗ orphan_database +${orphan} `, 'm'))
  t.match(text.stdout, /^2 problems; freehold doctor --fix repairs that\.$/m)
  t.same(await publicMayConnect(name), [{ open: true }], 'looking repairs nothing')

  const fixed = await diagnose(t, '--fix')
  t.same(faults(fixed), [])
  t.same(fixed.repaired.map(({ kind }: { kind: string }) => kind).sort(), [
    'open_to_others',
    'orphan_database',
  ])
  t.same(await publicMayConnect(name), [{ open: false }])
  t.same(await query(server.superuser, `select from pg_roles where rolname like '${orphan}%'`), [])
  t.same(await query(server.superuser, `select from pg_database where datname = '${orphan}'`), [])
  t.same(faults(await diagnose(t)), [])
})

t.test('what --fix cannot repair is still a problem', async (t) => {
  await query(server.master, "update databases set status = 'held' where status = 'spare'")
  const report = await diagnose(t, '--fix')
  t.same(faults(report), ['held_without_tenant'])
  await query(
    server.master,
    `update databases set status = 'spare'
      where status = 'held' and id not in (select database_id from tenants where database_id is not null)`,
  )
})

t.test('a master key that is wrong or lost is found, and none is made in its place', async (t) => {
  const wrong = await freeholdOn(dataDir, { MASTER_KEY: 'ab'.repeat(32) })('doctor')
  t.equal(wrong.code, 1)
  t.match(wrong.stdout, /^✗ master_key +MASTER_KEY is not the key/m)
  const file = join(dataDir, 'master.key')
  await rename(file, `${file}.away`)
  t.same(faults(await diagnose(t)), ['master_key'])
  await t.rejects(stat(file), { code: 'ENOENT' })
  await rename(`${file}.away`, file)
})

t.test('the doctor starts a stopped server for its look, and stops it again', async (t) => {
  await server.stop()
  t.same(faults(await diagnose(t)), [])
  t.same(await serversOf(dataDir), [])
})
