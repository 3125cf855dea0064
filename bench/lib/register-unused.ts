import pg from 'pg'
import { clientOptions } from '../../src/kernel/postgres-address.ts'
import type { World } from './world.ts'

/**
 * All that the master knows of a tenant: a person, a membership, a deed and a database with a sealed secret. Only the
 * databases themselves are missing on the server, as nobody will ask for them.
 */
const registration = `
  with made as (
    select n, gen_random_uuid() as tenant, gen_random_uuid() as person, gen_random_uuid() as database
      from generate_series(1, $1::int) as n
  ), people as (
    insert into people (id, email, first_name, last_name)
      select person, 'registered-' || n || '@example.com', 'Registered', n::text from made
      returning id
  ), databases as (
    insert into databases (id, cluster_id, name, status, secret, schema_version)
      select database, model.cluster_id, 't_' || left(translate(md5(n::text), '0189', 'ghij'), 26), 'held', model.secret,
             model.schema_version
        from made, (select cluster_id, secret, schema_version from databases where status = 'held' limit 1) as model
      returning id
  ), tenants as (
    insert into tenants (id, slug, name, status, database_id, plan, region, tier)
      select tenant, 'registered-' || n, 'Registered ' || n, 'active', database, 'free', model.region, 'shared'
        from made, (select region from clusters limit 1) as model, (select count(*) from databases) as first
      returning id
  )
  insert into memberships (tenant_id, person_id, role_id)
    select tenant, person, roles.id
      from made, roles, (select count(*) from people) as first, (select count(*) from tenants) as second
     where roles.tenant_id is null and roles.name = 'Admin'`

/** Enters so many more tenants into the master, each with a member of its own. Call it while no node runs. */
export const registerUnused = async (world: World, count: number): Promise<void> => {
  const client = new pg.Client(clientOptions(world.grounds.master))
  await client.connect()
  try {
    const { rowCount } = await client.query(registration, [count])
    if (rowCount !== count) throw new Error(`${rowCount} tenants were registered instead of ${count}`)
    await client.query('analyze')
  } finally {
    await client.end()
  }
}
