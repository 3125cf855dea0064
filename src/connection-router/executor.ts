import {
  type AbortableQueryOptions,
  type CompiledQuery,
  type ConnectionProvider,
  DefaultConnectionProvider,
  DefaultQueryExecutor,
  Kysely,
  type KyselyPlugin,
  type QueryResult,
} from 'kysely'
import { type ConnectionSource, TenantDriver, tenantDialect, toQueryResult } from './dialect.ts'
import { brandTenantDb, type TenantDb } from './tenant-db.ts'

const compiler = tenantDialect.createQueryCompiler()
const adapter = tenantDialect.createAdapter()
const config = { dialect: tenantDialect }

/**
 * Runs a lease's plain statements without a connection of their own. Kysely's own executor takes one for each statement
 * before it is known what for; transactions and streams still go that way, through the driver.
 */
class TenantExecutor extends DefaultQueryExecutor {
  readonly #source: ConnectionSource
  readonly #provider: ConnectionProvider

  constructor(source: ConnectionSource, provider: ConnectionProvider, plugins: readonly KyselyPlugin[]) {
    super(compiler, adapter, provider, [...plugins])
    this.#source = source
    this.#provider = provider
  }

  override async executeQuery<R>(
    query: CompiledQuery,
    { signal }: AbortableQueryOptions = {},
  ): Promise<QueryResult<R>> {
    let result = toQueryResult<unknown>(await this.#source.run(query, signal))
    for (const plugin of this.plugins) {
      const args = { queryId: query.queryId, result: result as QueryResult<Record<string, unknown>> }
      result = await plugin.transformResult(signal === undefined ? args : { ...args, signal })
    }
    return result as QueryResult<R>
  }

  override withPlugins(plugins: readonly KyselyPlugin[]): TenantExecutor {
    return new TenantExecutor(this.#source, this.#provider, [...this.plugins, ...plugins])
  }

  override withPlugin(plugin: KyselyPlugin): TenantExecutor {
    return new TenantExecutor(this.#source, this.#provider, [...this.plugins, plugin])
  }

  override withPluginAtFront(plugin: KyselyPlugin): TenantExecutor {
    return new TenantExecutor(this.#source, this.#provider, [plugin, ...this.plugins])
  }

  override withoutPlugins(): TenantExecutor {
    return new TenantExecutor(this.#source, this.#provider, [])
  }
}

class TenantKysely<Schema> extends Kysely<Schema> {
  override connection(): never {
    throw new Error(
      'A tenant handle has no connection() of its own: use transaction() for statements that belong together.',
    )
  }
}

/** The handle of one lease. */
export const openTenantDb = <Schema>(source: ConnectionSource, tenantId: string): TenantDb<Schema> => {
  const driver = new TenantDriver(source)
  const executor = new TenantExecutor(source, new DefaultConnectionProvider(driver), [])
  return brandTenantDb(
    new TenantKysely<Schema>({ config, driver, executor, dialect: tenantDialect }),
    tenantId,
  )
}
