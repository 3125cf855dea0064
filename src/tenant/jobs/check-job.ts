import { lacking, type TenantScope } from '../../http/guards.ts'
import { AppError } from '../../kernel/errors.ts'
import { whyNotStorable } from '../../kernel/storable-json.ts'
import type { TenantTables } from '../tables.ts'
import type { JobTypes } from './job-type.ts'

/** Levels of a payload or a result: more than anything that means something. */
export const maxJobDepth = 64

type Asking = Pick<TenantScope<TenantTables>, 'grant'>

/** Throws `forbidden` unless whoever asks may do themselves what jobs of this type do for them. */
export const mustMayRun = (types: JobTypes, { grant }: Asking, name: string): void => {
  const permission = types.get(name)?.permission
  if (permission !== undefined && !grant.permissions.has(permission)) throw lacking(grant, permission)
}

/**
 * Throws `validation_failed` unless there is such a type and it takes this payload, and `forbidden` unless whoever asks may
 * have it run.
 */
export const checkJob = (types: JobTypes, asking: Asking, name: string, payload: unknown): void => {
  const type = types.get(name)
  if (type === undefined) {
    throw new AppError('validation_failed', `There is no job type ${name}.`, {
      errors: [{ path: '/type', message: `is none of ${[...types.keys()].join(', ')}` }],
    })
  }
  mustMayRun(types, asking, name)
  const reason = whyNotStorable(payload, maxJobDepth)
  const errors = reason === undefined ? type.check(payload) : [{ path: '/payload', message: reason }]
  const first = errors[0]
  if (first === undefined) return
  throw new AppError('validation_failed', `body${first.path} ${first.message}.`, { errors })
}
