import t from 'tap'
import { connectTo, refusalOf } from '../helpers/postgres.ts'
import { openPlantation } from './plantation.ts'

const { postgres, admin, db, manager, newTenant, doorOf, isFoundAndRepaired, isOnlyReported } =
  await openPlantation(t)

t.test('a sound installation has no findings, and its repair does nothing', async (t) => {
  await newTenant()
  t.strictSame(await manager.inspect(), [])
  t.strictSame(await manager.repair(), { repaired: [], remaining: [] })
})

t.test('CONNECT given back to PUBLIC is found and revoked', async (t) => {
  const { database } = await newTenant()
  await admin.query(`grant connect on database ${database.name} to public`)
  await isFoundAndRepaired(t, 'open_to_others')
})

t.test("another tenant's role let in is found and shut out", async (t) => {
  const { database } = await newTenant()
  const { database: other } = await newTenant()
  await admin.query(`grant connect on database ${database.name} to ${other.name}`)
  await isFoundAndRepaired(t, 'open_to_others')
})

t.test('a database shut to its own tenant is opened again', async (t) => {
  const { database } = await newTenant()
  await admin.query(`revoke connect on database ${database.name} from ${database.name}`)
  await isFoundAndRepaired(t, 'closed_to_tenant')
})

for (const name of ['postgres', 'template1', 'freehold']) {
  t.test(`PUBLIC let into ${name} is found; the reconciler revokes it where it may`, async (t) => {
    await admin.query(`grant connect on database ${name} to public`)
    // Only the master's own database belongs to a role of ours.
    if (name === 'freehold') return isFoundAndRepaired(t, 'cluster_open_to_public')
    await isOnlyReported(t, 'cluster_open_to_public')
    await t.rejects(manager.prepareDefaultCluster(postgres.provisioner), {
      name: 'OperatorError',
      message: new RegExp(`revoke connect, temporary on database "${name}" from public;`),
    })
    await admin.query(`revoke connect on database ${name} from public`)
  })
}

const grants: [what: string, sql: (name: string, other: string) => string][] = [
  ['createdb', (name) => `alter role ${name} createdb`],
  ['createrole', (name) => `alter role ${name} createrole`],
  ["another tenant's role", (name, other) => `grant ${other} to ${name}`],
  ["another tenant's owner", (name, other) => `grant ${other}_owner to ${name}`],
  ['its own owner', (name) => `grant ${name}_owner to ${name}`],
  ['a role of the server', (name) => `grant pg_read_all_data to ${name}`],
  [
    'more of the group',
    (name) => `grant freehold_tenant to ${name} with set true, admin true granted by freehold_provisioner`,
  ],
  ['createdb for the owner', (name) => `alter role ${name}_owner createdb`],
]

for (const [what, sql] of grants) {
  t.test(`a role given ${what} is found`, async (t) => {
    const { database } = await newTenant()
    const { database: other } = await newTenant()
    await admin.query(sql(database.name, other.name))
    const grantedByOthers = /another|its own|server/.test(what)
    if (!grantedByOthers) return isFoundAndRepaired(t, 'excess_rights')
    // What a superuser granted, only a superuser takes away.
    await isOnlyReported(t, 'excess_rights')
    for (const role of [other.name, `${other.name}_owner`, `${database.name}_owner`, 'pg_read_all_data']) {
      await admin.query(`revoke ${role} from ${database.name}`)
    }
  })
}

for (const attribute of ['superuser', 'replication', 'bypassrls']) {
  t.test(`a role made ${attribute} is reported, with the statement for a superuser`, async (t) => {
    const { database } = await newTenant()
    await admin.query(`alter role ${database.name} ${attribute}`)
    await isOnlyReported(t, 'excess_rights')
    const [finding] = await manager.inspect()
    t.match(finding, { repairable: false, message: /run as a superuser: alter role t_\w+ nosuperuser/ })
    await admin.query(`alter role ${database.name} no${attribute}`)
  })
}

const changes: [what: string, sql: (name: string) => string][] = [
  ['NOLOGIN', (name) => `alter role ${name} nologin`],
  ['a setting', (name) => `alter role ${name} set statement_timeout = 0`],
  ['a setting in its database', (name) => `alter role ${name} in database ${name} set search_path = evil`],
  ['another connection limit', (name) => `alter role ${name} connection limit -1`],
  ['a password that expires', (name) => `alter role ${name} valid until '2020-01-01'`],
  ['LOGIN for the owner', (name) => `alter role ${name}_owner login`],
  ['no group', (name) => `revoke freehold_tenant from ${name} granted by freehold_provisioner`],
]

for (const [what, sql] of changes) {
  t.test(`a role changed to ${what} is found and put right`, async (t) => {
    const { database } = await newTenant()
    await admin.query(sql(database.name))
    await isFoundAndRepaired(t, 'role_changed')
  })
}

t.test('settings that a tenant gave its own role are found and reset', async (t) => {
  const { database } = await newTenant()
  const { id } = await db
    .selectFrom('tenants')
    .select('id')
    .where('database_id', '=', database.id)
    .executeTakeFirstOrThrow()
  const door = await doorOf(id)
  const tenant = await connectTo(t, door)
  await tenant.query(`alter role ${database.name} set work_mem = '1GB'`)
  await isFoundAndRepaired(t, 'role_changed')
})

t.test('a login role that is gone is made again, with the same secret', async (t) => {
  const { tenant, database } = await newTenant()
  const door = await doorOf(tenant.id)
  await admin.query(`revoke all on database ${database.name} from ${database.name}`)
  await admin.query(`drop role ${database.name}`)
  t.equal(await refusalOf(door), '28P01')
  await isFoundAndRepaired(t, 'missing_role')
  t.equal(await refusalOf(door), undefined)
})
