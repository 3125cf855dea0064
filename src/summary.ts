import type { FirstAdmin } from './access/first-admin.ts'
import type { Config } from './kernel/config.ts'
import { version } from './version.ts'

export type Started = {
  config: Config
  /** Where it really listens: the configured port, or the one the system chose for port 0. */
  address: string
  /** Such as `PostgreSQL 18.4`. */
  postgres: string
  seconds: number
  firstAdmin: FirstAdmin | undefined
  spares: number
}

const row = (name: string, value: string, note = ''): string =>
  `  ${name.padEnd(12)}${value}${note && `   ${note}`}`

const adminRows = (admin: FirstAdmin | undefined): string[] =>
  admin === undefined
    ? []
    : [
        '',
        row('Admin', admin.email),
        row(
          'Password',
          admin.password ?? 'as set in ADMIN_PASSWORD',
          admin.password && '(shown only this once: keep it)',
        ),
      ]

/** What the operator sees when Freehold is ready: where it is, who may enter, and what to try next. */
export const startSummary = (started: Started): string => {
  const { config, address, firstAdmin } = started
  const email = firstAdmin?.email ?? config.admin.email
  const where =
    config.external === undefined ? `own server, data in ${config.dataDir}` : 'MASTER_DATABASE_URL'
  return [
    '',
    `  Freehold ${version} is ready (${started.seconds.toFixed(1)} s)`,
    '',
    row('API', address),
    row('Reference', `${address}/docs`),
    row('Postgres', `${started.postgres}, ${where}`),
    row('Spares', `${started.spares} database${started.spares === 1 ? '' : 's'} waiting for an owner`),
    ...adminRows(firstAdmin),
    '',
    '  Try next, in another shell',
    '',
    `    curl ${address}/health/ready`,
    `    npx freehold tenant create acme --name "Acme" --admin-email ${email}`,
    '    npx freehold doctor',
    '',
    '  README.md walks through sign-up, a tenant and its first project. Ctrl-C stops.',
    '',
    '',
  ].join('\n')
}
