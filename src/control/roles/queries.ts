import { type ExpressionBuilder, sql } from 'kysely'
import { isShipped } from '../../access/catalogue.ts'
import { AppError } from '../../kernel/errors.ts'
import { newId } from '../../kernel/ids.ts'
import type { MasterDb, MasterTransaction } from '../../master/master.ts'
import { isForeignKeyViolation } from '../../master/postgres-errors.ts'
import type { MasterTables } from '../../master/tables.ts'
import type { AccessChange } from './changes.ts'

/** Roles and policies are kept alike: a name, a description, and whose they are. */
export type Kind = 'role' | 'policy'
const tables = { role: 'roles', policy: 'policies' } as const
const plurals = { role: 'roles', policy: 'policies' }

const columns = ['id', 'tenant_id', 'name', 'description', 'created_at', 'updated_at'] as const
export type Named = {
  id: string
  tenant_id: string | null
  name: string
  description: string
  created_at: Date
  updated_at: Date
}

/** Of all in the table: a tenant sees the system-wide ones and its own, the platform (null) only the former. */
const visibleTo = (tenantId: string | null) => (w: ExpressionBuilder<MasterTables, 'roles' | 'policies'>) =>
  tenantId === null
    ? w('tenant_id', 'is', null)
    : w.or([w('tenant_id', 'is', null), w('tenant_id', '=', tenantId)])

/** Newest first, and one more than `limit` when there are more. */
export const listNamed = (
  db: MasterDb,
  kind: Kind,
  tenantId: string | null,
  page: { limit: number; after: string | undefined },
): Promise<Named[]> =>
  db
    .selectFrom(tables[kind])
    .select(columns)
    .where(visibleTo(tenantId))
    .$if(page.after !== undefined, (query) => query.where('id', '<', page.after ?? ''))
    .orderBy('id', 'desc')
    .limit(page.limit + 1)
    .execute()

/** Throws `not_found` for what is not there or belongs to another tenant. */
export const findNamed = async (
  db: MasterDb,
  kind: Kind,
  tenantId: string | null,
  id: string,
): Promise<Named> => {
  const found = await db
    .selectFrom(tables[kind])
    .select(columns)
    .where('id', '=', id)
    .where(visibleTo(tenantId))
    .executeTakeFirst()
  if (found !== undefined) return found
  throw new AppError(
    'not_found',
    `There is no ${kind} with this id${tenantId === null ? '' : ' in this tenant'}.`,
  )
}

/** The one to be changed. Throws `not_found`, and `forbidden` for one that is kept by the platform or comes with Freehold. */
export const findOwn = async ({ trx, tenantId }: AccessChange, kind: Kind, id: string): Promise<Named> => {
  const found = await findNamed(trx, kind, tenantId, id)
  if (found.tenant_id !== tenantId) {
    throw new AppError(
      'forbidden',
      `The ${kind} ${found.name} is the same in every tenant and can't be changed here; make a ${kind} of your own instead.`,
    )
  }
  if (tenantId === null && isShipped(found.name)) {
    throw new AppError(
      'forbidden',
      `The ${kind} ${found.name} comes with Freehold and can't be changed; make another system-wide ${kind} instead.`,
    )
  }
  return found
}

/** Bounds what one tenant can make the master read for a grant. */
const most = { role: 200, policy: 500 }

/** Capitals make no other name: "admin" beside "Admin" would only mislead. */
const refuseTakenName = async (
  { trx, tenantId }: AccessChange,
  kind: Kind,
  name: string,
  except?: string,
): Promise<void> => {
  const taken = await trx
    .selectFrom(tables[kind])
    .select('id')
    .where(sql<string>`lower(name)`, '=', sql<string>`lower(${name})`)
    .where(visibleTo(tenantId))
    .$if(except !== undefined, (query) => query.where('id', '<>', except ?? ''))
    .executeTakeFirst()
  if (taken !== undefined) {
    throw new AppError('conflict', `There already is a ${kind} with this name; choose another one.`)
  }
}

/** Throws `conflict` for a name that is taken among what the editor sees, and when there are too many. */
export const insertNamed = async (
  change: AccessChange,
  kind: Kind,
  { name, description = '' }: { name: string; description?: string | undefined },
): Promise<Named> => {
  await refuseTakenName(change, kind, name.trim())
  const { trx, tenantId } = change
  const { count } = await trx
    .selectFrom(tables[kind])
    .select((w) => w.fn.countAll<string>().as('count'))
    .where('tenant_id', tenantId === null ? 'is' : '=', tenantId)
    .executeTakeFirstOrThrow()
  if (Number(count) >= most[kind]) {
    throw new AppError('conflict', `There can be ${most[kind]} ${plurals[kind]} at most; delete one first.`)
  }
  return trx
    .insertInto(tables[kind])
    .values({ id: newId(), tenant_id: tenantId, name: name.trim(), description })
    .returning(columns)
    .executeTakeFirstOrThrow()
}

export const updateNamed = async (
  change: AccessChange,
  kind: Kind,
  id: string,
  { name, description }: { name?: string | undefined; description?: string | undefined },
): Promise<Named> => {
  if (name !== undefined) await refuseTakenName(change, kind, name.trim(), id)
  return change.trx
    .updateTable(tables[kind])
    .set({
      ...(name === undefined ? {} : { name: name.trim() }),
      ...(description === undefined ? {} : { description }),
      updated_at: sql<Date>`now()`,
    })
    .where('id', '=', id)
    .returning(columns)
    .executeTakeFirstOrThrow()
}

/** Throws `conflict` when something that does not take the lock of a change has just come to need it. */
export const deleteNamed = async (trx: MasterTransaction, kind: Kind, id: string): Promise<void> => {
  await trx
    .deleteFrom(tables[kind])
    .where('id', '=', id)
    .execute()
    .catch((error: unknown) => {
      if (!isForeignKeyViolation(error)) throw error
      throw new AppError('conflict', `The ${kind} has just come into use; look again.`, { cause: error })
    })
}
