import type { Transaction } from 'kysely'
import type { Static, TSchema } from 'typebox'
import { Compile } from 'typebox/compile'
import type { FieldError } from '../../kernel/errors.ts'
import type { TenantTables } from '../tables.ts'

/** How far a job is; `total` where it is known. */
export type Progress = Readonly<{ done: number; total?: number; message?: string }>

export type JobContext = Readonly<{
  jobId: string
  /** 1 for the first try. */
  attempt: number
  /** Who put it in, by their id in the tenant's directory; null: a schedule. */
  createdBy: string | null
  /** Aborted when the job was cancelled, took too long, or was given to another worker. Nothing can be written then. */
  signal: AbortSignal
  /** Tells how far it is; readers see it within a second. */
  progress(progress: Progress): void
}>

/** What one kind of job does, typed by its payload. */
export type JobType<Payload extends TSchema = TSchema> = Readonly<{
  name: string
  /** One sentence for the API's reference. */
  summary: string
  /** What a payload must be. Checked when a job is put in and again when it runs. */
  payload: Payload
  /**
   * Does it and answers the result, JSON of the tenant's. What it writes in `trx` is committed together with the job's
   * success or not at all, however often it is tried; effects elsewhere are not. Throw a `JobError` for what the tenant
   * should read.
   */
  run(trx: Transaction<TenantTables>, payload: Static<Payload>, context: JobContext): Promise<unknown>
}>

/** A job type as the engine has it: its payload proved by `check`, no longer by its type. */
export type KnownJobType = Readonly<{
  name: string
  summary: string
  /** What is wrong with this payload; nothing when it may run. */
  check(payload: unknown): FieldError[]
  run(trx: Transaction<TenantTables>, payload: unknown, context: JobContext): Promise<unknown>
}>

/** All job types by name. */
export type JobTypes = ReadonlyMap<string, KnownJobType>

/** More than this many mistakes help nobody. */
const maxErrors = 20

export const defineJobType = <Payload extends TSchema>(type: JobType<Payload>): KnownJobType => {
  const validator = Compile(type.payload)
  return {
    name: type.name,
    summary: type.summary,
    check: (payload) =>
      validator.Check(payload)
        ? []
        : validator
            .Errors(payload)
            .slice(0, maxErrors)
            .map(({ instancePath, message }) => ({ path: `/payload${instancePath}`, message })),
    run: (trx, payload, context) => type.run(trx, payload as Static<Payload>, context),
  }
}

/** A failure in words that the tenant's people may read. With `final`, no further try would help. */
export class JobError extends Error {
  override readonly name = 'JobError'
  readonly final: boolean

  constructor(message: string, options: { final?: boolean; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.final = options.final ?? false
  }
}
