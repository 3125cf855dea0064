import pg from 'pg'
import { newId } from '../../src/kernel/ids.ts'
import { clientOptions, type PostgresAddress } from '../../src/kernel/postgres-address.ts'
import { eachLimited } from '../../src/tenant-manager/context.ts'
import { type Landlord, openLandlord } from '../helpers/tenant-manager.ts'
import { canaryIdOf, canaryOf, sharedId, sharedRows } from './canaries.ts'

/** A tenant as it was made: its database holds the canary of its number. */
export type TenantFacts = Readonly<{
  index: number
  id: string
  slug: string
  databaseId: string
  database: string
  /** Persons: an Admin for ever, and a member whose role and session change. */
  admin: string
  wanderer: string
}>

export type Addresses = Readonly<{
  master: PostgresAddress
  provisioner: PostgresAddress
  superuser: PostgresAddress
}>

/** An installation full of tenants. Plain data, so that it can be told to another process. */
export type FuzzWorld = Addresses & Readonly<{ tenants: readonly TenantFacts[] }>

const word = (index: number): string => `'${canaryOf(index)}'`

/** The same ids in every tenant; what the rows say is the tenant's own. */
const seedOf = (index: number): string => `
  delete from projects;
  delete from workspaces;
  update settings set settings = jsonb_build_object('canary', ${word(index)}::text);
  insert into workspaces (id, slug, name, created_by)
    values ('${sharedId(0)}', ${word(index)}, ${word(index)}, '${canaryIdOf(index)}');
  insert into projects (id, name, description, workspace_id, created_by)
    select ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, ${word(index)}, ${word(index)},
      '${sharedId(0)}', '${canaryIdOf(index)}' from generate_series(0, ${sharedRows - 1}) n`

const seed = async (superuser: PostgresAddress, { index, database }: TenantFacts): Promise<void> => {
  const client = new pg.Client(clientOptions({ ...superuser, database }))
  await client.connect()
  await client.query(seedOf(index))
  await client.end()
}

const addPerson = async ({ master }: Landlord, index: number, role: string): Promise<string> => {
  const id = newId()
  await master.db
    .insertInto('people')
    .values({ id, email: `${role}-${index}@example.com`, first_name: role })
    .execute()
  return id
}

const addTenant = async (landlord: Landlord, index: number): Promise<TenantFacts> => {
  const { db } = landlord.master
  const admin = await addPerson(landlord, index, 'admin')
  const wanderer = await addPerson(landlord, index, 'wanderer')
  const { id, slug, database_id } = await landlord.createTenant({
    ...{ name: `Tenant ${index}`, slug: `tenant-${index}`, firstAdmin: admin },
  })
  const viewer = db
    .selectFrom('roles')
    .select('id')
    .where('name', '=', 'Viewer')
    .where('tenant_id', 'is', null)
  const { id: role_id } = await viewer.executeTakeFirstOrThrow()
  await db.insertInto('memberships').values({ tenant_id: id, person_id: wanderer, role_id }).execute()
  const databaseId = String(database_id)
  const { name } = await db
    .selectFrom('databases')
    .select('name')
    .where('id', '=', databaseId)
    .executeTakeFirstOrThrow()
  return { index, id, slug, databaseId, database: name, admin, wanderer }
}

/** Makes tenants on an empty server: real databases, migrated, each with the same rows under the same ids and its canary. */
export const makeWorld = async (addresses: Addresses, count: number): Promise<FuzzWorld> => {
  const { master, provisioner, superuser } = addresses
  const landlord = await openLandlord(addresses, { spareDatabases: count, tenantMaxConnections: 16 })
  try {
    await landlord.manager.refillSpares()
    const tenants: TenantFacts[] = []
    for (let index = 0; index < count; index++) tenants.push(await addTenant(landlord, index))
    await eachLimited(tenants, 4, (tenant) => seed(superuser, tenant))
    return { master, provisioner, superuser, tenants }
  } finally {
    await landlord.close()
  }
}

/** Brings a world back to what it was when it was made, after a run that was broken off or went wrong. */
export const restoreWorld = async ({ master, superuser, tenants }: FuzzWorld): Promise<void> => {
  const client = new pg.Client(clientOptions({ ...superuser, database: master.database }))
  await client.connect()
  await client.query('begin')
  await client.query(`update tenants set status = 'pending', database_id = null, slug = 'tenant-' || id`)
  for (const { id, slug, databaseId } of tenants) {
    const restored = `update tenants set status = 'active', database_id = $2, slug = $3 where id = $1`
    await client.query(restored, [id, databaseId, slug])
  }
  await client.query('commit')
  await client.end()
  await eachLimited(tenants, 4, (tenant) => seed(superuser, tenant))
}
