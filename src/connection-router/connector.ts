import type { ReadySockets } from './ready-sockets.ts'
import type { ConnectionRouterOptions, routerDefaults } from './router-options.ts'
import type { RouterCounters } from './stats.ts'
import { TenantConnection } from './tenant-connection.ts'
import type { SlotEvents, TenantPool } from './tenant-pool.ts'
import type { Watch } from './wire/watch.ts'

/** Makes a pool's connections, which are not open yet; one that reaches another database is logged and counted. */
export const connector =
  (
    { statementTimeoutMs, acquireTimeoutMs, log }: ConnectionRouterOptions & typeof routerDefaults,
    watch: Watch,
    counters: RouterCounters,
    sockets: ReadySockets,
  ) =>
  ({ tenantId, identity, address }: TenantPool<TenantConnection>, events: SlotEvents): TenantConnection => {
    const mismatch = (reached: { database: string; role: string }): void => {
      counters.mismatches += 1
      const expected = { database: address.database, role: address.user }
      log.error({ tenantId, identity, expected, reached }, "another database than the tenant's answered")
    }
    // Shorter than the wait, so that those who wait for a silent server hear that it is unavailable, not overloaded.
    const settings = { statementTimeoutMs, connectTimeoutMs: acquireTimeoutMs * 0.8, sockets }
    return new TenantConnection(address, settings, { ...events, mismatch }, { tenantId, watch, counters })
  }
