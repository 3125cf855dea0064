import type { Command } from 'commander'
import type { ChainReport } from '../../../src/kernel/audit-chain.ts'
import { AppError } from '../../../src/kernel/errors.ts'
import type { MasterDb } from '../../../src/master/master.ts'
import { line } from '../../arguments.ts'
import { type Column, printJson, printTable } from '../../output.ts'
import { verb } from '../../program.ts'
import { createProgress } from '../../progress.ts'

type Result = {
  tenant: string
  tenantId: string
  /** Why it could not be read: somebody may have taken a table away. */
  error?: string
} & ChainReport

/** A log that can't be read proves nothing, and must not hide those of other tenants. */
const unreadable = (error: unknown): ChainReport & { error: string } => ({
  ...{ ok: false, verified: 0, unsealed: 0, problems: [], head: { position: 0, hash: null } },
  error: error instanceof Error ? error.message : String(error),
})

const findTenants = async (db: MasterDb, wanted: string | undefined) => {
  const rows = await db
    .selectFrom('tenants')
    .select(['id', 'slug'])
    .where('database_id', 'is not', null)
    .$if(wanted !== undefined, (query) =>
      query.where((eb) =>
        eb.or([eb('slug', '=', wanted ?? ''), eb(eb.cast('id', 'text'), '=', wanted ?? '')]),
      ),
    )
    .orderBy('slug')
    .execute()
  if (rows.length > 0 || wanted === undefined) return rows
  throw new AppError(
    'not_found',
    `there is no tenant ${wanted} with a database; freehold tenant list shows all`,
  )
}

const columns: readonly Column<Result>[] = [
  { title: 'tenant', value: ({ tenant }) => tenant },
  { title: 'log', value: ({ ok, error }) => (ok ? 'whole' : error ? 'UNREADABLE' : 'CHANGED') },
  { title: 'verified', value: ({ verified }) => String(verified) },
  { title: 'not sealed', value: ({ unsealed }) => String(unsealed) },
  {
    title: 'first problem',
    value: ({ problems: [first], error = '' }) =>
      first === undefined
        ? error
        : [first.kind, first.position, first.entryId].filter((x) => x !== null).join(' '),
  },
]

export const addAuditVerify = (parent: Command): void => {
  verb(parent, 'verify', "Prove tenants' audit logs against their signed heads; exit 1 when one was changed.")
    .argument('[tenant]', 'its slug or id; all without it', line(63))
    .action(async (wanted: string | undefined, _: unknown, command: Command) => {
      const { json = false } = command.optsWithGlobals<{ json?: boolean }>()
      const { withInstallation } = await import('../../installation.ts')
      const progress = createProgress(json)
      const results = await withInstallation(progress, async ({ master, manager }) => {
        const done: Result[] = []
        for (const { id, slug } of await findTenants(master.db, wanted)) {
          progress.step(`verifying ${slug}`)
          const report = await manager.verifyAudit(id).catch(unreadable)
          if (report !== undefined) done.push({ tenant: slug, tenantId: id, ...report })
        }
        return done
      })
      if (json) printJson(results)
      else printTable(columns, results)
      if (results.some(({ ok }) => !ok)) process.exitCode = 1
    })
}
