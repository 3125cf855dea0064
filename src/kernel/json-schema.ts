import { Ajv, type ErrorObject } from 'ajv'
import addFormats from 'ajv-formats'
import type { TSchema } from 'typebox'
import type { FieldError } from './errors.ts'
import { isUuid } from './ids.ts'

const options = { allErrors: true, removeAdditional: false, strict: false } as const

const createAjv = (more: { useDefaults: boolean; coerceTypes: boolean }): Ajv =>
  addFormats
    .default(new Ajv({ ...options, ...more }))
    // The usual format also admits `urn:uuid:…`, which Postgres does not read.
    .addFormat('uuid', isUuid)

/** Takes values as they are: a number is no text. Absent fields get their defaults. */
export const exact = createAjv({ useDefaults: true, coerceTypes: false })
/** For values that are text by nature: reads numbers and booleans from it. */
export const fromText = createAjv({ useDefaults: true, coerceTypes: true })
/** Only looks. */
const observer = createAjv({ useDefaults: false, coerceTypes: false })

/** More than this many mistakes help nobody. */
const maxFieldErrors = 20

const fieldError = ({ instancePath, message = 'is not valid', params }: ErrorObject): FieldError => {
  const { additionalProperty: unknown, missingProperty: missing } = params
  if (unknown !== undefined)
    return { path: `${instancePath}/${String(unknown)}`, message: 'is not a known field' }
  if (missing !== undefined) return { path: `${instancePath}/${String(missing)}`, message: 'is required' }
  return { path: instancePath, message }
}

/** The validator's errors as we tell them, the first 20. */
export const fieldErrorsOf = (errors: readonly ErrorObject[]): FieldError[] =>
  errors.slice(0, maxFieldErrors).map(fieldError)

/**
 * Answers what is wrong with a value by this schema, and leaves it as it is; nothing when it fits. Throws when this is no
 * JSON Schema; what only TypeBox knows, such as `Refine`, is not looked at.
 */
export const checkerOf = (schema: TSchema): ((value: unknown) => FieldError[]) => {
  const fits = observer.compile(schema)
  return (value) => (fits(value) ? [] : fieldErrorsOf(fits.errors ?? []))
}
