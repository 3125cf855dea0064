import type { Kysely } from 'kysely'

const tenantDbBrand: unique symbol = Symbol('TenantDb')

/**
 * A handle on one tenant's database, valid while its lease is held. The brand is the tenant's id; its symbol never
 * leaves this room, so a handle on any other database can't be taken for one. It has no `connection()`: statements of
 * one handle run on any of the tenant's connections; what must stay on one belongs into `transaction()`.
 */
export type TenantDb<Schema> = Kysely<Schema> & {
  readonly [tenantDbBrand]: string
  readonly connection: never
}

/** Marks a handle as belonging to one tenant. For the router alone. */
export const brandTenantDb = <Schema>(db: Kysely<Schema>, tenantId: string): TenantDb<Schema> => {
  const branded = db as Kysely<Schema> & { [tenantDbBrand]: string }
  branded[tenantDbBrand] = tenantId
  return branded as TenantDb<Schema>
}

/** The id of the tenant whose database this handle reaches. */
export const tenantIdOf = <Schema>(db: TenantDb<Schema>): string => db[tenantDbBrand]
