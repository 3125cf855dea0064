/** A JSON schema as far as our routes use it. */
export type Schema = {
  $ref?: string
  type?: string
  format?: string
  const?: unknown
  enum?: unknown[]
  anyOf?: Schema[]
  properties?: Record<string, Schema>
  required?: string[]
  items?: Schema
  minLength?: number
  minimum?: number
  pattern?: string
}

type Operation = {
  requestBody?: { content: Record<string, { schema: Schema }> }
  parameters?: { name: string; in: string; schema: Schema }[]
}
export type OpenApi = { paths: Record<string, Record<string, Operation>> }

export type Described = Readonly<{
  method: string
  /** With `{id}` and the like replaced by the id of nothing. */
  url: string
  body: Schema | undefined
  query: readonly string[]
  params: readonly string[]
  /** As it stands in the document. */
  path: string
}>

export const nobodysId = '018f0000-0000-7000-8000-000000000000'

/** Every operation of an OpenAPI document. */
export const describe = ({ paths }: OpenApi): Described[] =>
  Object.entries(paths).flatMap(([path, operations]) =>
    Object.entries(operations).map(([method, { requestBody, parameters = [] }]) => ({
      method: method.toUpperCase(),
      path,
      url: path.replace(/\{\w+\}/g, nobodysId),
      body: requestBody?.content['application/json']?.schema,
      query: parameters.filter((one) => one.in === 'query').map(({ name }) => name),
      params: parameters.filter((one) => one.in === 'path').map(({ name }) => name),
    })),
  )

/** Something that fits a schema. */
export const sample = (schema: Schema): unknown => {
  if (schema.const !== undefined) return schema.const
  if (schema.enum !== undefined) return schema.enum[0]
  if (schema.anyOf !== undefined) return sample(schema.anyOf[0] ?? {})
  if (schema.type === 'object' || schema.properties !== undefined) {
    return Object.fromEntries(
      Object.entries(schema.properties ?? {}).map(([name, one]) => [name, sample(one)]),
    )
  }
  if (schema.type === 'array') return [sample(schema.items ?? {})]
  if (schema.type === 'integer' || schema.type === 'number') return schema.minimum ?? 1
  if (schema.type === 'boolean') return true
  if (schema.format === 'email') return 'somebody@example.com'
  if (schema.format === 'uuid') return nobodysId
  if (schema.format === 'date-time') return '2030-01-01T00:00:00Z'
  if (schema.format === 'uri') return 'https://example.com/'
  return 'long enough'
}

/** The paths of every text in a body of this schema. */
export const textsOf = (schema: Schema, at: readonly string[] = []): string[][] => {
  if (schema.anyOf !== undefined) return schema.anyOf.flatMap((one) => textsOf(one, at))
  if (schema.properties !== undefined) {
    return Object.entries(schema.properties).flatMap(([name, one]) => textsOf(one, [...at, name]))
  }
  if (schema.type === 'array') return textsOf(schema.items ?? {}, [...at, '0'])
  return schema.type === 'string' ? [[...at]] : []
}

/** Every pattern that texts are checked with. */
export const patternsOf = (schema: unknown): string[] =>
  typeof schema !== 'object' || schema === null
    ? []
    : Object.entries(schema).flatMap(([name, value]) =>
        name === 'pattern' && typeof value === 'string' ? [value] : patternsOf(value),
      )

/** The body with another value at this path. */
export const withValue = (body: unknown, [name, ...rest]: readonly string[], value: unknown): unknown => {
  if (name === undefined) return value
  const old = body as Record<string, unknown>
  const changed = withValue(old[name], rest, value)
  return Array.isArray(body) ? [changed] : { ...old, [name]: changed }
}
