import pg from 'pg'

/** One column as the server describes it. */
export type Field = { readonly name: string; readonly dataTypeID: number }

/** How the rows of one statement become objects. */
export type RowShape = {
  readonly names: readonly string[]
  readonly parsers: readonly ((value: string) => unknown)[]
  /** A row of nulls: copying it is faster than making each row's properties anew. */
  readonly empty: Readonly<Record<string, unknown>>
}

/** Of two columns with one name the last wins, as with the driver. */
export const rowShape = (fields: readonly Field[]): RowShape => ({
  names: fields.map(({ name }) => name),
  parsers: fields.map(({ dataTypeID }) => pg.types.getTypeParser(dataTypeID, 'text')),
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
