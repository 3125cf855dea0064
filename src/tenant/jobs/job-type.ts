import type { Transaction } from 'kysely'
import type { Static, TSchema } from 'typebox'
import type { Permission } from '../../access/catalogue.ts'
import type { FieldError } from '../../kernel/errors.ts'
import { checkerOf } from '../../kernel/json-schema.ts'
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

type Trx = Transaction<TenantTables>

/** What a step leaves: what the next one goes on from, or the result of the whole job. */
export type Step<State> = Readonly<
  { state: State; progress?: Progress } | { result: unknown; progress?: Progress }
>

type Named<Payload extends TSchema> = Readonly<{
  name: string
  /** One sentence for the API's reference. */
  summary: string
  /** What whoever puts it in must hold beside `job:run`: what they would need to do the same by themselves. */
  permission?: Permission
  /** What a payload must be, as JSON Schema. Checked when a job is put in and again when it runs. */
  payload: Payload
}>

/** What one kind of job does, typed by its payload: in one transaction, or in several. */
export type JobType<Payload extends TSchema = TSchema, State = unknown> =
  | (Named<Payload> & WholeJob<Payload>)
  | (Named<Payload> & SteppedJob<Payload, State>)

type WholeJob<Payload extends TSchema> = Readonly<{
  /**
   * Does it and answers the result, JSON of the tenant's. What it writes in `trx` is committed together with the job's
   * success or not at all, however often it is tried; effects elsewhere are not. Throw a `JobError` for what the tenant
   * should read.
   */
  run(trx: Trx, payload: Static<Payload>, context: JobContext): Promise<unknown>
}>

type SteppedJob<Payload extends TSchema, State> = Readonly<{
  /**
   * For jobs that take long: answers what does one step, which is called until it answers a result. What a step writes in
   * `trx` is committed together with its state, so that a further try goes on behind it. `state` is JSON; undefined at first.
   */
  steps(
    payload: Static<Payload>,
  ): (trx: Trx, state: State | undefined, context: JobContext) => Promise<Step<State>>
}>

/** Does one step of a job. */
export type DoStep = (trx: Trx, state: unknown, context: JobContext) => Promise<Step<unknown>>

/** A job type as the engine has it: its payload proved by `check`, no longer by its type. */
export type KnownJobType = Readonly<{
  name: string
  summary: string
  permission: Permission | undefined
  /** What is wrong with this payload; nothing when it may run. */
  check(payload: unknown): FieldError[]
  steps(payload: unknown): DoStep
}>

/** All job types by name. */
export type JobTypes = ReadonlyMap<string, KnownJobType>

export const defineJobType = <Payload extends TSchema, State>(
  type: JobType<Payload, State>,
): KnownJobType => {
  const check = checkerOf(type.payload)
  return {
    name: type.name,
    summary: type.summary,
    permission: type.permission,
    check: (payload) => check(payload).map(({ path, message }) => ({ path: `/payload${path}`, message })),
    steps: (given) => {
      const payload = given as Static<Payload>
      if ('steps' in type) return type.steps(payload) as DoStep
      return async (trx, _state, context) => ({ result: await type.run(trx, payload, context) })
    },
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
