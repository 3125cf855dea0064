import t from 'tap'
import { scramVerifier } from '../../src/kernel/crypto.ts'
import type { PostgresAddress } from '../../src/kernel/postgres-address.ts'
import { newDataDir, query, refusal, start } from './helpers.ts'

/** `invalid_authorization_specification`: pg_hba.conf says no. */
const byRules = '28000'
/** `insufficient_privilege`: no right to connect. */
const byRights = '42501'
const wrongPassword = '28P01'

const dataDir = await newDataDir(t)
const server = await start(t, { dataDir })
const { master, provisioner, superuser } = server
const at = (address: PostgresAddress, database: string): PostgresAddress => ({ ...address, database })

t.test('nobody gets in without the right password', async (t) => {
  for (const address of [master, provisioner, superuser]) {
    t.equal(await refusal(address), 'connected')
    t.equal(await refusal({ ...address, password: `${address.password}x` }), wrongPassword)
    t.equal(
      await refusal({
        ...address,
        password: master.password === address.password ? provisioner.password : master.password,
      }),
      wrongPassword,
    )
    t.match(await refusal({ ...address, password: '' }), /28P01|password/i)
  }
  t.same(
    await query(
      superuser,
      "select rolname from pg_authid where rolcanlogin and rolpassword not like 'SCRAM-SHA-256$%'",
    ),
    [],
  )
})

t.test('freehold_master reaches its own database and no other', async (t) => {
  for (const database of ['postgres', 'template1', 'template0', 'freehold_master']) {
    t.equal(await refusal(at(master, database)), byRules, database)
  }
  const rights =
    'select rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls from pg_roles where rolname = current_user'
  t.same(await query(master, rights), [
    { rolsuper: false, rolcreatedb: false, rolcreaterole: false, rolreplication: false, rolbypassrls: false },
  ])
  await t.rejects(query(master, 'create database x'), { code: '42501' })
  await t.rejects(query(master, 'create role x'), { code: '42501' })
  const owner = "select pg_get_userbyid(datdba) as owner from pg_database where datname = 'freehold'"
  t.same(await query(master, owner), [{ owner: 'freehold_master' }])
  t.same(await query(master, 'create schema own', 'create table own.a ()', 'select 1 as ok'), [{ ok: 1 }])
})

t.test(
  'freehold_provisioner makes roles and databases, and cannot reach the database of Freehold',
  async (t) => {
    t.equal(await refusal(at(provisioner, 'freehold')), byRules)
    t.equal(await refusal(at(provisioner, 'template1')), byRights)
    t.same(
      await query(
        provisioner,
        'select rolsuper, rolcreatedb, rolcreaterole, rolreplication from pg_roles where rolname = current_user',
      ),
      [{ rolsuper: false, rolcreatedb: true, rolcreaterole: true, rolreplication: false }],
    )
    t.same(await query(provisioner, 'show createrole_self_grant'), [
      { createrole_self_grant: 'set, inherit' },
    ])
    await t.rejects(query(provisioner, 'grant freehold_master to freehold_provisioner'), { code: '42501' })
    await t.rejects(
      query(
        provisioner,
        'grant connect on database freehold to freehold_provisioner',
        "do $$ begin assert has_database_privilege('freehold', 'connect'); end $$",
      ),
    )
    await t.rejects(query(provisioner, "alter role freehold_master password 'x'"), { code: '42501' })
    await t.rejects(query(provisioner, 'drop database freehold'), { code: '42501' })
  },
)

t.test('PUBLIC may connect to none of the databases that are there from the start', async (t) => {
  const sql = `select datname, p from pg_database, unnest(array['connect', 'temporary']) p
    where datname <> 'template0' and has_database_privilege('public', datname, p)`
  t.same(await query(superuser, sql), [])
})

t.test('a role reaches only the database of its own name, even where PUBLIC may connect', async (t) => {
  for (const name of ['t_aaa', 't_bbb']) {
    await query(
      provisioner,
      `create role ${name} login password '${scramVerifier(name)}'`,
      `create database ${name}`,
    )
  }
  const tenant = { ...provisioner, user: 't_aaa', password: 't_aaa' }
  t.equal(await refusal(at(tenant, 't_aaa')), 'connected')
  t.equal(await refusal(at(tenant, 't_bbb')), byRules)
  for (const database of ['freehold', 'postgres', 'template1'])
    t.equal(await refusal(at(tenant, database)), byRules)
  t.equal(await refusal(at(provisioner, 't_aaa')), 'connected')
  t.equal(await refusal(at(master, 't_aaa')), byRules)
})

t.test('a role named like the database of Freehold or a template gets nothing from it', async (t) => {
  for (const name of ['freehold', 'template1']) {
    await query(provisioner, `create role ${name} login password '${scramVerifier(name)}'`)
    t.match(
      await refusal({ ...provisioner, user: name, password: name, database: name }),
      name === 'freehold' ? byRules : byRights,
    )
  }
  await query(superuser, 'grant connect on database freehold to public')
  t.equal(
    await refusal({ ...provisioner, user: 'freehold', password: 'freehold', database: 'freehold' }),
    byRules,
  )
  await query(superuser, 'revoke connect on database freehold from public')
})

t.test('physical replication is open to nobody', async (t) => {
  const { Client } = await import('pg')
  for (const { user, password, host, port } of [superuser, provisioner]) {
    const client = new Client({
      user,
      password,
      host,
      port,
      database: 'postgres',
      replication: 'true',
    } as object)
    await t.rejects(client.connect(), { code: byRules })
  }
})
