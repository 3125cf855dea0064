import { AppError } from '../../kernel/errors.ts'
import { whyNotStorable } from '../../kernel/storable-json.ts'

/** Room for settings, not for data: characters of JSON. */
const maxLength = 65_536
/** Far more than people write, far less than what a parser gives up at. */
const maxDepth = 32

/** Throws `validation_failed` for JSON of any shape that can't be stored as it is, or is too big. */
export const mustBeStorable = (value: unknown, path: string): void => {
  const tooLong = (): string | undefined =>
    JSON.stringify(value).length > maxLength ? 'must not be longer than 64 kB' : undefined
  const message = whyNotStorable(value, maxDepth) ?? tooLong()
  if (message === undefined) return
  throw new AppError('validation_failed', `body${path} ${message}.`, { errors: [{ path, message }] })
}
