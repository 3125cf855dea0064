import { AppError } from '../../kernel/errors.ts'
import { whyNotStorable } from '../../kernel/storable-json.ts'
import type { JobTypes } from './job-type.ts'

/** Levels of a payload or a result: more than anything that means something. */
export const maxJobDepth = 64

/** Throws `validation_failed` unless there is such a type and it takes this payload. */
export const checkPayload = (types: JobTypes, name: string, payload: unknown): void => {
  const type = types.get(name)
  if (type === undefined) {
    throw new AppError('validation_failed', `There is no job type ${name}.`, {
      errors: [{ path: '/type', message: `is none of ${[...types.keys()].join(', ')}` }],
    })
  }
  const reason = whyNotStorable(payload, maxJobDepth)
  const errors = reason === undefined ? type.check(payload) : [{ path: '/payload', message: reason }]
  const first = errors[0]
  if (first === undefined) return
  throw new AppError('validation_failed', `body${first.path} ${first.message}.`, { errors })
}
