import type { ReadySockets } from './ready-sockets.ts'
import type { ConnectionRouterOptions, routerDefaults } from './router-options.ts'
import type { AskAboutSession, Surroundings } from './surroundings.ts'
import { TenantConnection } from './tenant-connection.ts'
import type { SlotEvents, TenantPool } from './tenant-pool.ts'

/** What the connections of a cluster have in common; `question` makes what asks about sessions of a pool. */
type ConnectorParts = Pick<Surroundings, 'watch' | 'counters'> &
  Readonly<{ sockets: ReadySockets; question: (pool: TenantPool<TenantConnection>) => AskAboutSession }>

/** Makes a pool's connections, which are not open yet; one that reaches another database is logged and counted. */
export const connector =
  (
    { statementTimeoutMs, acquireTimeoutMs, log }: ConnectionRouterOptions & typeof routerDefaults,
    { sockets, question, ...around }: ConnectorParts,
  ) =>
  (pool: TenantPool<TenantConnection>, events: SlotEvents): TenantConnection => {
    const { tenantId, identity, address } = pool
    const mismatch = (reached: { database: string; role: string }): void => {
      around.counters.mismatches += 1
      const expected = { database: address.database, role: address.user }
      log.error({ tenantId, identity, expected, reached }, "another database than the tenant's answered")
    }
    // Shorter than the wait, so that those who wait for a silent server hear that it is unavailable, not overloaded.
    const settings = { statementTimeoutMs, connectTimeoutMs: acquireTimeoutMs * 0.8, sockets }
    const surroundings = { ...around, tenantId, askAboutSession: question(pool) }
    const loginSaid = (): void => pool.loginSaid()
    return new TenantConnection(address, settings, { ...events, mismatch, loginSaid }, surroundings)
  }
