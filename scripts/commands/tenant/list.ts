import type { Command } from 'commander'
import type { ListedTenant } from '../../../src/master/tenants.ts'
import { id, wholeNumber } from '../../arguments.ts'
import type { Installation } from '../../installation.ts'
import { type Column, print, printJson, printTable } from '../../output.ts'
import { verb } from '../../program.ts'
import { createProgress } from '../../progress.ts'
import { toTenantJson } from './tenant-view.ts'

type Options = { json?: boolean; limit?: number; cursor?: string }

/** Rows read at once when all are wanted. */
const batch = 1_000

type Tenants = { data: ListedTenant[]; nextCursor: string | null }

const readPage = async (installation: Installation, limit: number, after?: string): Promise<Tenants> => {
  const { listTenants } = await import('../../../src/master/tenants.ts')
  const rows = await listTenants(installation.master.db, { limit: limit + 1, after })
  const data = rows.slice(0, limit)
  return { data, nextCursor: rows.length > limit ? (data.at(-1)?.id ?? null) : null }
}

/** Newest first: one page with `limit`, otherwise all there are after `cursor`. */
const readTenants = async (installation: Installation, { limit, cursor }: Options): Promise<Tenants> => {
  if (limit !== undefined) return readPage(installation, limit, cursor)
  const all: ListedTenant[] = []
  for (let after = cursor; ; ) {
    const { data, nextCursor } = await readPage(installation, batch, after)
    all.push(...data)
    if (nextCursor === null) return { data: all, nextCursor }
    after = nextCursor
  }
}

const columns: readonly Column<ListedTenant>[] = [
  { title: 'SLUG', value: ({ slug }) => slug },
  { title: 'NAME', value: ({ name }) => name },
  { title: 'STATUS', value: ({ status }) => status },
  { title: 'PLAN', value: ({ plan }) => plan },
  { title: 'REGION', value: ({ region }) => region },
  { title: 'DATABASE', value: ({ database }) => database ?? '-' },
  { title: 'CREATED', value: ({ created_at }) => created_at.toISOString().slice(0, 19).concat('Z') },
]

const printTenants = ({ data, nextCursor }: Tenants, { cursor }: Options): void => {
  if (data.length > 0) printTable(columns, data)
  else if (cursor !== undefined) print('No more tenants.')
  else {
    print('No tenants yet. Create one: freehold tenant create <slug> --name <name> --admin-email <email>')
  }
  if (nextCursor !== null) {
    process.stderr.write(`freehold: there are more; go on with --cursor ${nextCursor}\n`)
  }
}

export const addTenantList = (parent: Command): void => {
  verb(parent, 'list', 'List the tenants, newest first: all, or a page of them.')
    .option('--limit <number>', 'at most this many', wholeNumber(1, 1_000))
    .option('--cursor <cursor>', "begin after this page's nextCursor", id)
    .action(async (_: Options, command: Command) => {
      const { json = false, ...options } = command.optsWithGlobals<Options>()
      const { withInstallation } = await import('../../installation.ts')
      const tenants = await withInstallation(createProgress(json), (installation) =>
        readTenants(installation, options),
      )
      if (json) printJson({ data: tenants.data.map(toTenantJson), nextCursor: tenants.nextCursor })
      else printTenants(tenants, options)
    })
}
