import pg from 'pg'
import t from 'tap'
import { onInstallation } from '../../scripts/installation.ts'
import { startEmbeddedPostgres } from '../../src/embedded-postgres/embedded-postgres.ts'
import { loadConfig } from '../../src/kernel/config.ts'
import { createLogger } from '../../src/kernel/log.ts'
import { clientOptions } from '../../src/kernel/postgres-address.ts'
import { query } from '../embedded-postgres/helpers.ts'
import { newInstalledDataDir } from '../start-up/installed.ts'
import { addPerson, freeholdOn } from './helpers.ts'

const { dataDir } = await newInstalledDataDir(t)
const freehold = freeholdOn(dataDir)
const server = await startEmbeddedPostgres({ dataDir, durable: false })
t.teardown(() => server.stop())
await addPerson(server.master, 'ada@example.com')
for (const slug of ['acme', 'bravo']) {
  await freehold('tenant', 'create', slug, '--name', slug, '--admin-email', 'ada@example.com')
}

t.test('every log is verified, or one; a changed one is named, and the command fails', async (t) => {
  const whole = await freehold('audit', 'verify')
  t.match(whole, { code: 0, stdout: /^acme +whole +0 .*\nbravo +whole/m })
  const [row] = (await query(
    server.master,
    "select d.name from tenants t join databases d on d.id = t.database_id where slug = 'acme'",
  )) as { name: string }[]
  const client = new pg.Client(clientOptions({ ...server.superuser, database: row?.name ?? '' }))
  await client.connect()
  await client.query(`
    insert into audit_log (id, actor_kind, action, entity_type) values (gen_random_uuid(), 'system', 'x', 'test');
    update audit_chain set sealed_seq = 9`)
  const changed = await freehold('audit', 'verify')
  t.match(changed, { code: 1, stdout: /^acme +CHANGED +0 +1 +added .*\nbravo +whole/m })
  await client.query('alter table audit_seals rename to hidden')
  const unreadable = await freehold('audit', 'verify')
  t.match(unreadable, { code: 1, stdout: /^acme +UNREADABLE +0 +0 +relation .*\nbravo +whole/m })
  await client.query('alter table hidden rename to audit_seals')
  await client.end()
  const { code, stdout } = await freehold('audit', 'verify', 'bravo', '--json')
  t.equal(code, 0)
  t.match(JSON.parse(stdout), [{ tenant: 'bravo', ok: true, problems: [] }])
  t.match(await freehold('audit', 'verify', 'nobody'), { code: 1, stderr: /no tenant nobody/ })
})

t.test('the kept log of an erased tenant is printed, a line for each entry', async (t) => {
  const [bravo] = (await query(server.master, "select id from tenants where slug = 'bravo'")) as {
    id: string
  }[]
  const tenantId = bravo?.id ?? ''
  for (const id of [tenantId, 'bravo'])
    t.match(await freehold('audit', 'archive', id), {
      code: 1,
      stdout: '',
      stderr: new RegExp(`no audit log is kept of a tenant ${id}`),
    })
  const grounds = {
    ...{ config: loadConfig({ DATA_DIR: dataDir }), log: createLogger('silent'), startedHere: false },
    ...{ master: server.master, provisioner: server.provisioner },
  }
  await onInstallation(grounds, async ({ master, manager }) => {
    const now = new Date()
    const deleted = { status: 'deleted', restore_to: 'active', deleted_at: now, purge_after: now } as const
    await master.db.updateTable('tenants').set(deleted).where('id', '=', tenantId).execute()
    await manager.purgeTenants()
  })
  const { code, stdout } = await freehold('audit', 'archive', tenantId)
  t.equal(code, 0)
  const entries = stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
  t.match(entries[0], { action: 'tenant.created', entityId: tenantId, position: 1 })
  t.strictSame(
    entries.map(({ position }) => position),
    entries.map((_, n) => n + 1),
    'in the order of the chain',
  )
})
