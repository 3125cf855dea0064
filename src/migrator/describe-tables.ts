import type { MigrationClient } from './migrate.ts'

type Column = {
  table: string
  column: string
  type: string
  nullable: boolean
  hasDefault: boolean
  values: string[] | null
}

/** Tables that tools keep for themselves; features never touch them. */
const hidden = ['freehold_migrations']

const readColumns = async (client: MigrationClient): Promise<Column[]> => {
  const { rows } = await client.query(
    `select c.relname as "table", a.attname as "column", format_type(a.atttypid, null) as type,
            not a.attnotnull as nullable, a.atthasdef or a.attidentity <> '' as "hasDefault",
            (select array_agg(m[1] order by ord)
               from pg_constraint k,
                    regexp_matches(pg_get_constraintdef(k.oid), '''([^'']+)''::text', 'g') with ordinality as r (m, ord)
              where k.conrelid = c.oid and k.contype = 'c' and k.conkey = array[a.attnum]
                and pg_get_constraintdef(k.oid) ~ '= ANY \\(ARRAY\\[|^CHECK \\(\\(\\w+ = ''') as values
       from pg_class c
       join pg_namespace n on n.oid = c.relnamespace and n.nspname = 'public'
       join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
      where c.relkind in ('r', 'p') and c.relname <> all ($1)
      order by c.relname, a.attnum`,
    [hidden],
  )
  return rows as Column[]
}

const baseTypes: Record<string, string> = {
  uuid: 'string',
  text: 'string',
  'text[]': 'string[]',
  integer: 'number',
  bigint: 'string',
  boolean: 'boolean',
  bytea: 'Buffer',
  jsonb: 'Record<string, unknown>',
  'timestamp with time zone': 'Date',
}

const columnType = (column: Column): string => {
  const base = column.values?.map((v) => `'${v}'`).join(' | ') ?? baseTypes[column.type]
  if (base === undefined)
    throw new Error(`no TypeScript type is known for ${column.type} (${column.table}.${column.column})`)
  const nullable = column.nullable ? `${base} | null` : base
  return column.hasDefault ? `Generated<${nullable}>` : nullable
}

/** Where the formatter breaks lines; the file is checked like any other. */
const lineWidth = 110

/** A column as the formatter would leave it: a union that does not fit has one line for each member. */
const columnLines = (column: Column): string => {
  const type = columnType(column)
  const line = `  ${column.column}: ${type}`
  const breaks = line.length > lineWidth && !column.hasDefault
  return breaks ? `  ${column.column}:\n    | ${type.replaceAll(' | ', '\n    | ')}` : line
}

const pascal = (name: string): string =>
  name.replace(/(^|_)([a-z])/g, (_, __, letter: string) => letter.toUpperCase())

/**
 * The Kysely types of a migrated database as TypeScript source: one type per table and `typeName` over all of them.
 * Text columns with a `check (… in (…))` become unions. The same database always gives the same text.
 */
export const describeTables = async (client: MigrationClient, typeName: string): Promise<string> => {
  const tables = Map.groupBy(await readColumns(client), (column) => column.table)
  const lines = [
    '// Written by `npm run types` from the migrated database; a test compares the two. Do not edit.',
    "import type { Generated } from 'kysely'",
    '',
  ]
  for (const [table, columns] of tables) {
    lines.push(`export type ${pascal(table)}Table = {`, ...columns.map(columnLines), '}', '')
  }
  lines.push(
    `export type ${typeName} = {`,
    ...[...tables.keys()].map((t) => `  ${t}: ${pascal(t)}Table`),
    '}',
    '',
  )
  return lines.join('\n')
}
