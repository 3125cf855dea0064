import pg from 'pg'
import { readTimestamp } from './timestamps.ts'

/** One column as the server describes it. */
export type Field = { readonly name: string; readonly dataTypeID: number }

/** How the rows of one statement become objects. */
export type RowShape = {
  readonly names: readonly string[]
  readonly parsers: readonly ((value: string) => unknown)[]
  /** A row of nulls: copying it is faster than making each row's properties anew. */
  readonly empty: Readonly<Record<string, unknown>>
}

const parserOf = (type: number): ((value: string) => unknown) => {
  const parse: (value: string) => unknown = pg.types.getTypeParser(type, 'text')
  return type === pg.types.builtins.TIMESTAMPTZ ? (value) => readTimestamp(value) ?? parse(value) : parse
}

/** Of two columns with one name the last wins, as with the driver. */
export const rowShape = (fields: readonly Field[]): RowShape => ({
  names: fields.map(({ name }) => name),
  parsers: fields.map(({ dataTypeID }) => parserOf(dataTypeID)),
  empty: Object.fromEntries(fields.map(({ name }) => [name, null])),
})

/** The shape of a statement that answers without rows. */
export const noRows: RowShape = rowShape([])

export const readRow = (shape: RowShape, values: readonly (string | null)[]): Record<string, unknown> => {
  const { names, parsers } = shape
  const row: Record<string, unknown> = { ...shape.empty }
  for (let i = 0; i < values.length; i++) {
    const value = values[i] ?? null
    const [name, parse] = [names[i], parsers[i]]
    if (value !== null && name !== undefined && parse !== undefined) row[name] = parse(value)
  }
  return row
}
