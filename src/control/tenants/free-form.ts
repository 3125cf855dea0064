import { AppError } from '../../kernel/errors.ts'

/** Room for settings, not for data: characters of JSON. */
const maxLength = 65_536
/** Far more than people write, far less than what a parser gives up at. */
const maxDepth = 32

const refuse = (path: string, message: string): AppError =>
  new AppError('validation_failed', `body${path} ${message}.`, { errors: [{ path, message }] })

const isStorable = (text: string): boolean => !text.includes('\u0000') && text.isWellFormed()

/** Postgres writes a number out: what is six characters here would be three hundred there. */
const isShort = (value: number): boolean => {
  const size = Math.abs(value)
  return size === 0 || (size >= 1e-20 && size < 1e21)
}

const look = (value: unknown, path: string, depth: number): void => {
  if (depth > maxDepth) throw refuse(path, `is nested deeper than ${maxDepth}`)
  if (typeof value === 'string' && !isStorable(value))
    throw refuse(path, 'holds characters that cannot be stored')
  if (typeof value === 'number' && !isShort(value)) throw refuse(path, 'holds a number of too many digits')
  if (typeof value !== 'object' || value === null) return
  for (const [key, inner] of Object.entries(value)) {
    if (!isStorable(key)) throw refuse(path, 'holds a name that cannot be stored')
    look(inner, path, depth + 1)
  }
}

/** Throws `validation_failed` for JSON of any shape that can't be stored as it is, or is too big. */
export const mustBeStorable = (value: unknown, path: string): void => {
  look(value, path, 0)
  if (JSON.stringify(value).length > maxLength) throw refuse(path, 'must not be longer than 64 kB')
}
