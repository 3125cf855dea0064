import { type TObject, type TProperties, type TSchema, Type } from 'typebox'

/** A JSON object as a request body: fields it does not name are refused, never dropped. */
export const Body = <P extends TProperties>(
  properties: P,
  options: { minProperties?: number } = {},
): TObject<P> => Type.Object(properties, { additionalProperties: false, ...options })

/** Text of a bounded length without control characters other than line breaks and tabs (a zero byte can't be stored). */
export const Text = (options: { minLength?: number; maxLength: number; description?: string }) =>
  Type.String({
    minLength: 1,
    pattern: '^[^\\u0000-\\u0008\\u000b\\u000c\\u000e-\\u001f\\u007f]*$',
    ...options,
  })

/** One line of text: a name or a title. */
export const Line = (options: { minLength?: number; maxLength: number; description?: string }) =>
  Type.String({
    minLength: 1,
    pattern: '^[^\\u0000-\\u001f\\u007f]*\\S[^\\u0000-\\u001f\\u007f]*$',
    ...options,
  })

/** A secret that a person typed: any characters but the zero byte. */
export const Password = () =>
  Type.String({ minLength: 8, maxLength: 256, pattern: '^[^\\u0000]*$', description: '8 to 256 characters' })

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
