import type { Transaction } from 'kysely'
import type { Logger } from '../../kernel/log.ts'
import { whyNotStorable } from '../../kernel/storable-json.ts'
import { writeSystemAudit } from '../audit-log.ts'
import type { TenantTables } from '../tables.ts'
import type { TenantDb } from '../tenant-scope.ts'
import { maxJobDepth } from './check-job.ts'
import type { ClaimedJob } from './claims.ts'
import { messageOf, NotBegun, Overtaken, withoutWords } from './failures.ts'
import { type DoStep, JobError, type JobTypes, type KnownJobType, type Progress } from './job-type.ts'
import { failTry, keepProgress, keepStep, succeed } from './outcomes.ts'

/** How often at most a job's progress is written. */
const progressEveryMs = 500

/** Opens the tenant's database as the tenant's own role, for as long as `work` runs. */
export type UseTenant = <T>(
  tenantId: string,
  work: (db: TenantDb) => Promise<T>,
  options?: { signal?: AbortSignal },
) => Promise<T>

export type RunJobDeps = Readonly<{
  tenantId: string
  use: UseTenant
  jobTypes: JobTypes
  log: Logger
  /** For what must be said although the job was stopped. */
  db: TenantDb
}>

/** Keeps the newest progress of a job, a write at a time; what it could not keep in time is kept with the outcome. */
const followProgress = (deps: RunJobDeps, job: ClaimedJob) => {
  let latest: Progress | undefined
  let timer: NodeJS.Timeout | undefined
  let writing: Promise<void> = Promise.resolve()
  const write = (): void => {
    timer = undefined
    const now = latest
    if (now === undefined) return
    // Readers miss a word; the job goes on.
    writing = writing.then(() => keepProgress(deps.db, job, now)).catch(() => {})
  }
  return {
    tell: (progress: Progress): void => {
      latest = progress
      timer ??= setTimeout(write, progressEveryMs)
    },
    /** No write follows once it resolves. */
    end: async (): Promise<Progress | undefined> => {
      clearTimeout(timer)
      await writing
      return latest
    },
  }
}

const typeOf = (types: JobTypes, job: ClaimedJob): KnownJobType => {
  const type = types.get(job.type)
  // Another release may know it: during a rolling start there are two.
  if (type === undefined) throw new JobError(`This release knows no jobs of the type ${job.type}.`)
  const [wrong] = type.check(job.payload)
  if (wrong !== undefined) throw new JobError(`${wrong.path} ${wrong.message}.`, { final: true })
  return type
}

/**
 * Effect and success in one transaction, or each step's effect and its state in one. Throws `NotBegun` when there was no
 * transaction to be had, and `Overtaken` when the job went to somebody else meanwhile.
 */
const attempt = async (deps: RunJobDeps, job: ClaimedJob, signal: AbortSignal): Promise<void> => {
  let begun = false
  const progress = followProgress(deps, job)
  const context = {
    jobId: job.id,
    attempt: job.attempts,
    createdBy: job.created_by,
    signal,
    progress: progress.tell,
  }
  let doStep: DoStep | undefined
  let { state } = job
  /** True when that was the last one. */
  const step = async (trx: Transaction<TenantTables>): Promise<boolean> => {
    begun = true
    doStep ??= typeOf(deps.jobTypes, job).steps(job.payload)
    const done = await doStep(trx, state ?? undefined, context)
    const told = done.progress ?? (await progress.end())
    if ('state' in done) {
      if (!(await keepStep(trx, job, done.state, told))) throw new Overtaken()
      state = done.state
      return false
    }
    const result = done.result ?? null
    const reason = whyNotStorable(result, maxJobDepth)
    if (reason !== undefined) throw new JobError(`The result ${reason}.`, { final: true })
    if (!(await succeed(trx, job, result, told))) throw new Overtaken()
    await writeSystemAudit(trx, 'job.succeeded', { type: 'job', id: job.id })
    return true
  }
  try {
    await deps.use(
      deps.tenantId,
      async (db) => {
        while (!(await db.transaction().execute(step)));
      },
      { signal },
    )
  } catch (error) {
    if (!begun) throw new NotBegun('the transaction of a job could not begin', { cause: error })
    throw error
  } finally {
    await progress.end()
  }
}

const fail = async (deps: RunJobDeps, job: ClaimedJob, error: unknown): Promise<void> => {
  const { log, db } = deps
  const fields = {
    tenantId: deps.tenantId,
    jobId: job.id,
    jobType: job.type,
    attempt: job.attempts,
    ...withoutWords(error),
  }
  if (error instanceof JobError) log.info(fields, 'a job failed')
  else log.warn(fields, 'a job failed')
  const final = error instanceof JobError && error.final
  await db.transaction().execute(async (trx) => {
    if ((await failTry(trx, job, messageOf(error), final)) !== 'failed') return
    await writeSystemAudit(trx, 'job.failed', { type: 'job', id: job.id })
  })
}

/**
 * Runs a claimed job to the end of this try, whatever that is. Throws `NotBegun`, and what keeps the outcome from being
 * written: then the job is still claimed.
 */
export const runJob = async (deps: RunJobDeps, job: ClaimedJob, signal: AbortSignal): Promise<void> => {
  try {
    await attempt(deps, job, signal)
  } catch (error) {
    if (error instanceof Overtaken) return
    if (error instanceof NotBegun) throw error
    await fail(deps, job, error)
  }
}
