import { type CsvError, type Info, parse } from 'csv-parse/sync'
import { sql } from 'kysely'
import { Type } from 'typebox'
import { Email, Line } from '../../../http/schemas.ts'
import { newId } from '../../../kernel/ids.ts'
import { checkerOf } from '../../../kernel/json-schema.ts'
import { lazy } from '../../../kernel/lazy.ts'
import { writeSystemAudit } from '../../audit-log.ts'
import { defineJobType, JobError } from '../job-type.ts'

/** Rows written by one transaction, and lost with it when a worker is killed. */
const rowsAtOnce = 500
/** Reading takes a worker's whole attention, and it has other tenants: more rows, or longer lines, are no list of people. */
const mostRows = 100_000
const longestLine = 10_000
/** More than these are counted, not listed. */
const mostListed = 1_000

const Payload = Type.Object(
  {
    csv: Type.String({
      minLength: 1,
      description:
        'CSV with a first line that names its columns: email, firstName and lastName, in any order',
    }),
  },
  { additionalProperties: false },
)

type Columns = Partial<Record<'email' | 'firstName' | 'lastName', string>>
type Row = { line: number; values: Columns }
type Refused = { line: number; reason: string }
/** How far it is: kept with the rows themselves, so that a second try goes on behind them. */
type State = { read: number; added: number; refused: number; listed: Refused[] }

/** As people write them at the top of a sheet. */
const columnNames: Record<string, keyof Columns> = {
  email: 'email',
  'e-mail': 'email',
  firstname: 'firstName',
  lastname: 'lastName',
}

const columnOf = (title: string): keyof Columns | false =>
  columnNames[title.trim().toLowerCase().replaceAll(/[ _]/g, '')] ?? false

const parseRows = (csv: string): Row[] => {
  const options = {
    bom: true,
    trim: true,
    info: true,
    skip_empty_lines: true,
    relax_column_count: true,
    to: mostRows + 1,
  } as const
  try {
    const columns = (titles: string[]): (keyof Columns | false)[] => titles.map(columnOf)
    const rows = parse(csv, { ...options, columns }) as unknown as { record: Columns; info: Info }[]
    return rows.map(({ record, info }) => ({ line: info.lines, values: record }))
  } catch (cause) {
    const { lines } = cause as CsvError & { lines?: number }
    const where = lines === undefined ? '' : ` near line ${lines}`
    throw new JobError(`This is no CSV that can be read${where}.`, { final: true, cause })
  }
}

const readRows = (csv: string): Row[] => {
  const long = csv.split(/\r\n?|\n/).findIndex((line) => line.length > longestLine)
  if (long !== -1) {
    throw new JobError(`Line ${long + 1} has more than ${longestLine} characters.`, { final: true })
  }
  const rows = parseRows(csv)
  if (rows.length <= mostRows) return rows
  throw new JobError(`These are more than ${mostRows} rows: import them in several jobs.`, { final: true })
}

const faultsOfEmail = lazy(() => checkerOf(Email()))
const faultsOfName = lazy(() => checkerOf(Line({ maxLength: 100 })))
const isName = (text: string): boolean => faultsOfName(text).length === 0

const whyRefused = ({ email = '', firstName = '', lastName = '' }: Columns): string | undefined => {
  if (email === '') return 'there is no email'
  if (faultsOfEmail(email).length > 0) return 'the email is none'
  if (firstName !== '' && !isName(firstName)) return 'the first name is too long or no line of text'
  if (lastName !== '' && !isName(lastName)) return 'the last name is too long or no line of text'
  return undefined
}

/** People into the tenant's directory, without accounts. Who is there already is refused and stays as they are. */
export const usersImport = defineJobType({
  name: 'users.import',
  summary: 'Adds people to the directory from CSV; its result tells which rows were refused, and why.',
  permission: 'tenant-api:user:create',
  payload: Payload,
  steps: ({ csv }) => {
    const rows = readRows(csv)
    const total = rows.length
    return async (trx, before: State | undefined, { createdBy, jobId }) => {
      const state = before ?? { read: 0, added: 0, refused: 0, listed: [] }
      const batch = rows.slice(state.read, state.read + rowsAtOnce)
      const refused: Refused[] = []
      const people = batch.flatMap(({ line, values }) => {
        const reason = whyRefused(values)
        if (reason === undefined) return [{ id: newId(), line, values }]
        refused.push({ line, reason })
        return []
      })
      const added = new Set<string>()
      if (people.length > 0) {
        const inserted = await trx
          .insertInto('users')
          .values(
            people.map(({ id, values }) => ({
              ...{ id, kind: 'added' as const, status: 'active' as const, email: values.email ?? null },
              ...{ first_name: values.firstName || null, last_name: values.lastName || null },
              // Null when that person was removed meanwhile.
              created_by: sql<string | null>`(select id from users where id = ${createdBy}::uuid)`,
            })),
          )
          .onConflict((conflict) => conflict.doNothing())
          .returning('id')
          .execute()
        for (const { id } of inserted) added.add(id)
      }
      for (const { id, line } of people) {
        if (!added.has(id)) refused.push({ line, reason: 'somebody in the directory has this email' })
      }
      if (added.size > 0) {
        await writeSystemAudit(
          trx,
          'users.imported',
          { type: 'job', id: jobId },
          { details: { added: added.size } },
        )
      }
      const after: State = {
        read: state.read + batch.length,
        added: state.added + added.size,
        refused: state.refused + refused.length,
        listed: [...state.listed, ...refused.sort((a, b) => a.line - b.line)].slice(0, mostListed),
      }
      const progress = { done: after.read, total }
      if (after.read < total) return { state: after, progress }
      return { result: { added: after.added, refused: after.refused, rows: after.listed }, progress }
    }
  },
})
