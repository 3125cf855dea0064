import type pg from 'pg'
import type { Test } from 'tap'
import { ownerRoleName } from '../../src/kernel/ids.ts'
import type { PostgresAddress } from '../../src/kernel/postgres-address.ts'
import type { MasterDb } from '../../src/master/master.ts'
import { findPlacement } from '../../src/master/placement.ts'
import type { DatabaseRow } from '../../src/tenant-manager/build-database.ts'
import type { TenantRow } from '../../src/tenant-manager/create-tenant.ts'
import type { FindingKind } from '../../src/tenant-manager/findings.ts'
import { connectTo, startTestPostgres, type TestPostgres } from '../helpers/postgres.ts'
import { type Landlord, startLandlord } from '../helpers/tenant-manager.ts'

/** A sound installation in which faults are planted, one at a time. */
export type Plantation = Landlord & {
  postgres: TestPostgres
  admin: pg.Client
  db: MasterDb
  /** A fresh tenant, so that no test meets the traces of another. */
  newTenant(): Promise<{ tenant: TenantRow; database: DatabaseRow }>
  rowOf(databaseId: string | null): Promise<DatabaseRow>
  /** Where the tenant's own role logs in. */
  doorOf(tenantId: string): Promise<PostgresAddress>
  /** Whether the database or one of its roles is on the server. */
  exists(name: string): Promise<boolean>
  found(): Promise<FindingKind[]>
  /** Inspect sees exactly this fault; repair takes it away; then there is nothing to see. */
  isFoundAndRepaired(t: Test, kind: FindingKind): Promise<void>
  /** Inspect sees exactly this fault, and repair leaves it to an operator. */
  isOnlyReported(t: Test, kind: FindingKind): Promise<void>
}

export const openPlantation = async (t: Test): Promise<Plantation> => {
  const postgres = await startTestPostgres(t)
  const landlord = await startLandlord(t, postgres, { spareDatabases: 1 })
  const admin = await connectTo(t, postgres.superuser)
  const { manager, createTenant } = landlord
  const { db } = landlord.master
  await manager.refillSpares()

  const rowOf: Plantation['rowOf'] = (id) =>
    db.selectFrom('databases').selectAll().where('id', '=', id).executeTakeFirstOrThrow()
  const found: Plantation['found'] = async () => (await manager.inspect()).map(({ kind }) => kind)
  return {
    ...landlord,
    ...{ postgres, admin, db, rowOf, found },
    newTenant: async () => {
      await manager.refillSpares()
      const tenant = await createTenant()
      await manager.refillSpares()
      return { tenant, database: await rowOf(tenant.database_id) }
    },
    doorOf: async (tenantId) => {
      const placement = await findPlacement(landlord.master, landlord.box)(tenantId)
      if (placement?.status !== 'active') throw new Error('the tenant has no placement')
      return placement.address
    },
    exists: async (name) => {
      const { rows } = await admin.query(
        'select from pg_database where datname = $1 union all select from pg_roles where rolname in ($1, $2)',
        [name, ownerRoleName(name)],
      )
      return rows.length > 0
    },
    isFoundAndRepaired: async (t, kind) => {
      t.strictSame(await found(), [kind])
      const report = await manager.repair()
      t.strictSame([report.repaired.map((f) => f.kind), report.remaining], [[kind], []])
      await manager.refillSpares()
      t.strictSame(await manager.inspect(), [])
    },
    isOnlyReported: async (t, kind) => {
      t.strictSame(await found(), [kind])
      const report = await manager.repair()
      t.strictSame([report.repaired, report.remaining.map((f) => f.kind)], [[], [kind]])
    },
  }
}
