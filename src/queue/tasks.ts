/**
 * Every task the workers know, with its payload. Payloads carry ids and nothing else: a tenant's data stays in the
 * tenant's own database, and what a task needs to know it reads when it runs.
 */
export type Tasks = {
  'refill-spares': Record<string, never>
  'provision-tenant': { tenantId: string }
  'erase-database': { databaseId: string }
  /** Something waits in the master that the tenant's own database is to be told; queued by triggers. */
  'tenant-outbox': { tenantId: string }
  'purge-tenants': Record<string, never>
  /** Removes what is older than the audit logs are to be. */
  'prune-audit': Record<string, never>
  'migrate-databases': Record<string, never>
  reconcile: Record<string, never>
  /** A mail, kept sealed in the master under this id. */
  'send-mail': { payloadId: string }
  /** What somebody who is not signed in asked for with an email address, kept sealed in the master under this id. */
  'account-request': { payloadId: string }
  'tidy-access': Record<string, never>
  /** Looks into the tenant's database for jobs that are due, and runs some of them. */
  'run-tenant-jobs': { tenantId: string }
  /** Ends the plans whose time is over. */
  'end-plans': Record<string, never>
  /** Measures what tenants' databases hold. */
  'measure-storage': Record<string, never>
}

type FreeholdTasks = Tasks

export type TaskName = keyof Tasks

/** What runs each task. A handler may be called again with the same payload at any time, also while it still runs. */
export type TaskHandlers = { [Name in TaskName]: (payload: Tasks[Name]) => Promise<void> }

declare global {
  namespace GraphileWorker {
    /** graphile-worker types its own calls from this interface. */
    interface Tasks extends FreeholdTasks {}
  }
}
