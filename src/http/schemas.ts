import { type TObject, type TProperties, type TSchema, Type } from 'typebox'

/** A JSON object as a request body: fields it does not name are refused, never dropped. */
export const Body = <P extends TProperties>(
  properties: P,
  options: { minProperties?: number; maxProperties?: number } = {},
): TObject<P> => Type.Object(properties, { additionalProperties: false, ...options })

/** Halves of a character, which UTF-8 can't hold: stored, the text would be another one than was sent. */
const loneSurrogates = '\\ud800-\\udfff'
/** C0, DEL and C1: what a terminal obeys, and the zero byte, which can't be stored. Line and paragraph separators too. */
const notInALine = `\\u0000-\\u001f\\u007f-\\u009f\\u2028\\u2029${loneSurrogates}`

/** Text of a bounded length without control characters other than line breaks and tabs. */
export const Text = (options: { minLength?: number; maxLength: number; description?: string }) =>
  Type.String({
    minLength: 1,
    pattern: `^[^\\u0000-\\u0008\\u000b\\u000c\\u000e-\\u001f\\u007f${loneSurrogates}]*$`,
    ...options,
  })

/**
 * One line of text that is not blank: a name or a title. The pattern must decide each character once, because patterns
 * run over texts of any length, also those that are too long: white space, then something else, then the rest.
 */
export const Line = (options: { minLength?: number; maxLength: number; description?: string }) =>
  Type.String({
    minLength: 1,
    pattern: `^[^\\S${notInALine}]*[^\\s${notInALine}][^${notInALine}]*$`,
    ...options,
  })

/** A secret that a person typed: any characters but the zero byte and half ones, which would all hash alike. */
export const Password = () =>
  Type.String({
    minLength: 8,
    maxLength: 256,
    pattern: `^[^\\u0000${loneSurrogates}]*$`,
    description: '8 to 256 characters',
  })

export const Email = () =>
  Type.String({ format: 'email', maxLength: 254, pattern: '^[^\\s@<>()",;:\\\\]+@[^\\s@<>()",;:\\\\]+$' })

export const Slug = () =>
  Type.String({
    maxLength: 63,
    pattern: '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$',
    description: 'Lowercase letters, digits and hyphens',
  })

export const Id = () => Type.String({ format: 'uuid' })
export const Time = () => Type.String({ format: 'date-time', description: 'RFC 3339, UTC' })
export const Nullable = <T extends TSchema>(schema: T) => Type.Union([schema, Type.Null()])

export const IdParams = Type.Object({ id: Id() })

/** The error body (RFC 9457) of every answer with a status of 400 or more. */
export const Problem = Type.Object(
  {
    type: Type.String(),
    title: Type.String(),
    status: Type.Integer(),
    detail: Type.String(),
    code: Type.String(),
    requestId: Type.String(),
    errors: Type.Optional(Type.Array(Type.Object({ path: Type.String(), message: Type.String() }))),
  },
  { $id: 'Problem', title: 'Problem' },
)

/** The answers of a route: what it returns, and the problem for everything else. */
export const answers = <const S extends Record<number, TSchema>>(successes: S) => ({
  ...successes,
  '4xx': Type.Ref('Problem'),
  '5xx': Type.Ref('Problem'),
})

export const NoContent = Type.Null({ description: 'Done' })
