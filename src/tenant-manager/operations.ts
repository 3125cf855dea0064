import { sql } from 'kysely'
import { AppError } from '../kernel/errors.ts'
import { newId } from '../kernel/ids.ts'
import type { MasterDb } from '../master/master.ts'
import type { OperationsTable } from '../master/tables.ts'
import type { Context } from './context.ts'
import { sqlState } from './provisioner.ts'

export type OperationKind = OperationsTable['kind']

export type Subject = { tenantId?: string; databaseId?: string; clusterId?: string }

/** Longest reason kept in the journal. */
const maxErrorLength = 500

/** Enters a piece of lifecycle work into the journal as running; returns its id. */
export const beginOperation = async (
  db: MasterDb,
  kind: OperationKind,
  step: string,
  subject: Subject,
): Promise<string> => {
  const id = newId()
  await db
    .insertInto('operations')
    .values({
      id,
      kind,
      status: 'running',
      step,
      tenant_id: subject.tenantId ?? null,
      database_id: subject.databaseId ?? null,
      cluster_id: subject.clusterId ?? null,
      error: null,
      finished_at: null,
    })
    .execute()
  return id
}

/** Continues this subject's unfinished or failed operation of the kind as a further attempt, or begins one. */
export const resumeOperation = async (
  db: MasterDb,
  kind: OperationKind,
  step: string,
  subject: Subject,
): Promise<string> => {
  let query = db
    .updateTable('operations')
    .set({ status: 'running', step, error: null, finished_at: null, updated_at: sql<Date>`now()` })
    .set((set) => ({ attempts: set('attempts', '+', 1) }))
    .where('kind', '=', kind)
    .where('status', '<>', 'succeeded')
  if (subject.databaseId !== undefined) query = query.where('database_id', '=', subject.databaseId)
  else query = query.where('tenant_id', '=', subject.tenantId ?? '')
  const rows = await query.returning('id').execute()
  return rows.at(-1)?.id ?? beginOperation(db, kind, step, subject)
}

export const operationStep = async (db: MasterDb, id: string, step: string): Promise<void> => {
  await db
    .updateTable('operations')
    .set({ step, updated_at: sql<Date>`now()` })
    .where('id', '=', id)
    .execute()
}

/** Closes every open operation of the kind on the subject, in the transaction that commits its work. */
export const succeedOperations = async (
  db: MasterDb,
  kind: OperationKind,
  subject: Subject,
): Promise<void> => {
  let query = db
    .updateTable('operations')
    .set({
      status: 'succeeded',
      step: 'done',
      error: null,
      updated_at: sql<Date>`now()`,
      finished_at: sql<Date>`now()`,
    })
    .where('kind', '=', kind)
    .where('status', '<>', 'succeeded')
  if (subject.databaseId !== undefined) query = query.where('database_id', '=', subject.databaseId)
  else query = query.where('tenant_id', '=', subject.tenantId ?? '')
  await query.execute()
}

/**
 * Why it stopped, fit to be shown to platform admins: our own words, or the code of what a server or the system said.
 * Their words can hold names, addresses and rows.
 */
const reasonOf = (error: unknown): string => {
  if (error instanceof AppError) return error.message
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    const { code } = cause as { code?: unknown }
    if (typeof code !== 'string') continue
    const what = sqlState(cause) === undefined ? 'The server cannot be used' : 'PostgreSQL refused it'
    return `${what} (${code}); the log says more under the id of this operation.`
  }
  return error instanceof Error ? error.message : 'It failed; the log says more.'
}

/** Records why the operation stopped; it stays in the journal, and a further attempt continues it. The log has all of it. */
export const failOperation = async (
  { master: { db }, log }: Pick<Context, 'master' | 'log'>,
  id: string,
  error: unknown,
): Promise<void> => {
  log.warn({ err: error, operationId: id }, 'an operation has failed')
  await db
    .updateTable('operations')
    .set({
      status: 'failed',
      error: reasonOf(error).slice(0, maxErrorLength),
      updated_at: sql<Date>`now()`,
      finished_at: sql<Date>`now()`,
    })
    .where('id', '=', id)
    .where('status', '=', 'running')
    .execute()
}
