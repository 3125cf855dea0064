import type { AccessRule } from '../../../src/http/access-rules.ts'
import { type ErrorCode, errorCatalogue } from '../../../src/kernel/errors.ts'
import type { May, Outcome, Row } from './rows.ts'

/** Who asks, in the order of the table's columns. */
export const callers = [
  'nobody',
  'no tenant',
  'Basic',
  'Viewer',
  'Writer',
  'Admin',
  'other Admin',
  'system user',
  'platform admin',
  'suspended Admin',
] as const
export type Caller = (typeof callers)[number]

/** What the roles hold, said a second time and in other words than src/access/catalogue.ts: the two must agree. */
const holdings = {
  Basic: /^tenant-api:tenant:read$/,
  Viewer: /:read$/,
  Writer: /:read$|^tenant-api:(user|workspace|project):(create|update|delete)$|^tenant-api:job:run$/,
  Admin: /^tenant-api:/,
}
const roleOf: Partial<Record<Caller, keyof typeof holdings>> = {
  Basic: 'Basic',
  Viewer: 'Viewer',
  Writer: 'Writer',
  Admin: 'Admin',
  'other Admin': 'Admin',
  'system user': 'Viewer',
}

/** The rule of a route in the words of the rows. */
export const mayOf = (rule: AccessRule): May => {
  if (rule.scope === 'tenant') return rule.permission
  if (rule.scope === 'platform') return 'platform admin'
  if (rule.scope === 'public') return 'public'
  return rule.systemUsers ? 'person or system user' : 'person'
}

/** Why a caller is turned away before the handler; undefined for whom the rule admits. */
const refusal = (may: May, caller: Caller): ErrorCode | undefined => {
  if (may === 'public') return undefined
  if (caller === 'nobody') return 'unauthenticated'
  if (may === 'person or system user') return undefined
  if (may === 'person') return caller === 'system user' ? 'forbidden' : undefined
  if (may === 'platform admin') return caller === 'platform admin' ? undefined : 'forbidden'
  if (caller === 'no tenant' || caller === 'platform admin') return 'tenant_required'
  if (caller === 'suspended Admin') return 'tenant_suspended'
  const role = roleOf[caller]
  return role !== undefined && (may === 'any member' || holdings[role].test(may)) ? undefined : 'forbidden'
}

/** True when the request names an object of the Admin's tenant, in its path or its body. */
export const aims = ({ of = [], body }: Row): boolean =>
  of.some((aim) => aim !== 'permission') || /\{(?!new|slug|stranger)\w+\}/.test(JSON.stringify(body ?? {}))

/** What this caller must get from this row's request. */
export const expected = (row: Row, caller: Caller): Outcome => {
  const refused = refusal(row.may, caller)
  if (refused !== undefined) return refused
  if (row.withToken !== undefined && caller !== 'nobody') return row.withToken
  if (row.may === 'public' || !aims(row) || typeof row.outcome !== 'number') return row.outcome
  // What belongs to another tenant is not there.
  const role = caller === 'other Admin' ? undefined : roleOf[caller]
  if (role === undefined) return 'not_found'
  return row.inside === undefined || holdings[role].test(row.inside) ? row.outcome : 'forbidden'
}

export const statusOf = (outcome: Outcome): number =>
  typeof outcome === 'number' ? outcome : errorCatalogue[outcome].status

const quoted = (may: May): string => (may.includes(':') ? `\`${may}\`` : may)
const whom = ({ may, inside }: Row): string =>
  inside === undefined ? quoted(may) : `${may}, with ${quoted(inside)} in it`

/** The page docs/routes.md. */
export const page = (rows: readonly Row[]): string => {
  const lines = rows.map((row) => {
    const cells = callers.map((caller) => statusOf(expected(row, caller)))
    return `| \`${row.route}\` | ${whom(row)} | ${cells.join(' | ')} |`
  })
  return `# Routes, and who may call them

\`test/control/matrix\` asks every route of the running service as each of these callers and compares what it answers with
this table, which \`npm run routes\` prints from the test's own data. A route without a row fails the test.

The requests are well-formed. Many ask for what is not there, so that a test changes little: 404 is then the handler's
own answer, and says that the caller was admitted. *other Admin* is the Admin of another tenant, who asks for what
belongs to the first; *suspended Admin* is the Admin of a suspended tenant; *system user* has the role Viewer;
*platform admin* has chosen no tenant.

| Route | For whom | ${callers.join(' | ')} |
| --- | --- |${' ---: |'.repeat(callers.length)}
${lines.join('\n')}
`
}
