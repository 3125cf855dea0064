import { readFile, writeFile } from 'node:fs/promises'
import t from 'tap'
import { openProvisioner } from '../../src/master/secrets.ts'
import { getCluster, registerDefaultCluster } from '../../src/tenant-manager/cluster.ts'
import { probeServer } from '../../src/tenant-manager/probe-server.ts'
import { connectTo, startTestPostgres } from '../helpers/postgres.ts'
import { openLandlord, startLandlord } from '../helpers/tenant-manager.ts'

const postgres = await startTestPostgres(t)
const admin = await connectTo(t, postgres.superuser)

t.test('the probe says what a good server is', async (t) => {
  t.strictSame(await probeServer(postgres.provisioner), {
    version: postgres.version,
    versionNumber: 180_004,
    maxConnections: 500,
    reservedConnections: 5,
    superuser: false,
  })
  t.match(await probeServer(postgres.superuser), { superuser: true })
})

const mistakes: [what: string, change: object, sentence: RegExp][] = [
  ['a wrong password', { password: 'x' }, /^freehold_provisioner on .* was refused; check user, password/],
  ['a database that is not there', { database: 'nowhere' }, /there is no database nowhere/],
  [
    'a port where nobody listens',
    { host: '127.0.0.1', port: 1 },
    /cannot be reached .*check host, port and TLS/,
  ],
]
for (const [what, change, sentence] of mistakes) {
  t.test(`the probe explains ${what}`, async (t) => {
    const address = { ...postgres.provisioner, ...change }
    await t.rejects(probeServer(address), { name: 'OperatorError', message: sentence })
    const message = await probeServer(address).catch(String)
    t.notMatch(message, postgres.provisioner.password)
  })
}

t.test('the probe names the rights that are missing, and how to give them', async (t) => {
  await admin.query('alter role freehold_provisioner nocreatedb nocreaterole')
  await t.rejects(probeServer(postgres.provisioner), {
    name: 'OperatorError',
    lines: [/alter role "freehold_provisioner" createdb createrole;$/],
  })
  await admin.query('alter role freehold_provisioner createdb createrole')
})

t.test('the default cluster is entered once, by many nodes at once, and follows its address', async (t) => {
  const { master, box, cluster } = await startLandlord(t, postgres)
  const { db } = master
  const register = (change: object = {}) =>
    registerDefaultCluster({ db, box, provisioner: { ...postgres.provisioner, ...change } })
  const all = await Promise.all(Array.from({ length: 5 }, () => register()))
  t.strictSame(new Set(all.map(({ id }) => id)), new Set([cluster.id]))
  const before = await db.selectFrom('clusters').selectAll().executeTakeFirstOrThrow()
  t.notOk(before.provisioner.includes(postgres.provisioner.password))
  await register()
  const same = await db.selectFrom('clusters').selectAll().executeTakeFirstOrThrow()
  t.ok(before.provisioner.equals(same.provisioner), 'nothing is written when nothing changed')
  await register({ port: 6000, password: 'new' })
  t.match(await getCluster(db, box, cluster.id), { provisioner: { port: 6000, password: 'new' } })
  const moved = await db.selectFrom('clusters').selectAll().executeTakeFirstOrThrow()
  t.throws(() => openProvisioner(box, '01a1fc88-1d40-73d4-998d-d2e5efdfe288', moved.provisioner))
  await register()
})

t.test('a provisioner without rights over the group roles is told what a superuser must run', async (t) => {
  await admin.query('create role second_provisioner login createdb createrole')
  await admin.query(`alter role second_provisioner password '${postgres.provisioner.password}'`)
  await admin.query('grant connect on database postgres to second_provisioner')
  // The embedded server's access rules know one provisioner only.
  const { rows } = await admin.query("select current_setting('hba_file') as file")
  const rules = await readFile(rows[0].file, 'utf8')
  await writeFile(rows[0].file, `local all second_provisioner scram-sha-256\n${rules}`)
  await admin.query('select pg_reload_conf()')
  for (;;) {
    const shown = await admin.query(
      "select from pg_hba_file_rules where 'second_provisioner' = any(user_name)",
    )
    if (shown.rowCount === 1) break
  }
  const second = { ...postgres.provisioner, user: 'second_provisioner' }
  const error = await openLandlord({ master: postgres.master, provisioner: second }).then(
    async (landlord) => landlord.close(),
    (cause: unknown) => cause,
  )
  t.match(error, {
    name: 'OperatorError',
    lines: [
      /cluster default is not safe for tenants yet; run as a superuser on /,
      '  grant freehold_tenant to "second_provisioner" with admin true;',
      '  grant freehold_template to "second_provisioner" with inherit true, set true;',
    ],
  })
  await admin.query('grant freehold_tenant to "second_provisioner" with admin true')
  await admin.query('grant freehold_template to "second_provisioner" with inherit true, set true')
  const landlord = await startLandlord(t, { ...postgres, provisioner: second })
  await landlord.manager.refillSpares()
  t.strictSame(await landlord.manager.inspect(), [])
})

t.test('a superuser as provisioner works the same', async (t) => {
  const landlord = await startLandlord(t, { ...postgres, provisioner: postgres.superuser })
  const row = await landlord.manager.buildDatabase(landlord.cluster.id)
  await landlord.master.db
    .updateTable('databases')
    .set({ status: 'erasing' })
    .where('id', '=', row.id)
    .execute()
  await landlord.manager.eraseDatabase(row.id)
  t.strictSame(await landlord.manager.inspect(), [])
})
