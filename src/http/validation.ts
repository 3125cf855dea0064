import { Ajv } from 'ajv'
import addFormats from 'ajv-formats'
import type { FastifySchemaCompiler } from 'fastify'
import type { TSchema } from 'typebox'
import { isUuid } from '../kernel/ids.ts'

/**
 * Bodies are taken as they are: a number is no text, and an unknown field is an error. Query strings and paths are text
 * by nature, so there numbers and booleans are read from text.
 */
export const createValidator = (): FastifySchemaCompiler<TSchema> => {
  const options = { allErrors: true, useDefaults: true, removeAdditional: false, strict: false } as const
  // The usual format also admits `urn:uuid:…`, which Postgres does not read.
  const ajv = (coerceTypes: boolean) =>
    addFormats.default(new Ajv({ ...options, coerceTypes })).addFormat('uuid', isUuid)
  const exact = ajv(false)
  const fromText = ajv(true)
  return ({ schema, httpPart }) => {
    const check = (httpPart === 'body' ? exact : fromText).compile(schema)
    return (value) => {
      if (check(value)) return { value }
      // Fastify turns a plain list of ajv errors into its validation error.
      return { error: check.errors as unknown as Error }
    }
  }
}
