import { CachedLookup } from '../kernel/cached-lookup.ts'
import { AppError } from '../kernel/errors.ts'
import type { PostgresAddress } from '../kernel/postgres-address.ts'
import { refusalOfStatus } from '../kernel/tenant-status.ts'
import { within } from '../kernel/within.ts'
import { orAborted } from './signals.ts'

/** A tenant that holds a database: where it is, and how its own role logs in there. */
export type PlacedTenant = Readonly<{
  tenantId: string
  status: 'active' | 'suspended'
  databaseId: string
  clusterId: string
  epoch: number
  credentialVersion: number
  address: PostgresAddress
  /** The part of turns and of connection time against other tenants, a whole number; 1 when it is not named. */
  weight?: number
  /** The most server connections of this tenant, over all nodes; null or not named: as many as any tenant may have. */
  maxConnections?: number | null
}>

/** What the router needs to know of a tenant. One that may not be reached has no address. */
export type TenantPlacement = PlacedTenant | Readonly<{ tenantId: string; status: 'pending' | 'deleted' }>

/** Asks the master where a tenant is; undefined when there is no such tenant. */
export type FindTenant = (tenantId: string) => Promise<TenantPlacement | undefined>

/** A placement as one look-up found it. Look-ups are numbered as they start, so that a later answer beats an earlier. */
export type KnownPlacement = Readonly<{ placement: TenantPlacement; identity: string; lookup: number }>

/** How long somebody waits for a look-up, and what else ends that. */
export type Patience = Readonly<{ timeoutMs?: number; signals?: readonly AbortSignal[] }>

/** Placements kept: about 1 KB each, so 20 MB at most. */
const maxPlacements = 20_000
/** The backstop when an invalidation was lost; the rule is the invalidation. */
const placementTtlMs = 60_000
/** A flood of made-up ids reaches the master once per id in this time, and fills no more memory than this. */
const unknownTtlMs = 5_000
const maxUnknown = 10_000

/** Why this tenant's database may not be used now; undefined when it may. */
export const refusal = (known: KnownPlacement | undefined): AppError | undefined => {
  if (known === undefined) return new AppError('not_found', 'There is no such tenant.')
  return refusalOfStatus(known.placement.status)
}

const identityOf = (placement: TenantPlacement): string =>
  'databaseId' in placement ? databaseIdentity(placement) : `${placement.tenantId}/${placement.status}`

const databaseIdentity = (placement: PlacedTenant): string =>
  [placement.tenantId, placement.databaseId, placement.epoch, placement.credentialVersion].join('/')

/**
 * Remembers where tenants are. One look-up at a time per tenant; an invalidation during a look-up makes it start
 * again; unknown tenants are remembered briefly in bounded memory.
 */
export class Directory {
  readonly #lookups: CachedLookup<KnownPlacement>
  readonly #timeoutMs: number
  #started = 0

  constructor(options: { findTenant: FindTenant; isFresh: () => boolean; timeoutMs: number }) {
    this.#timeoutMs = options.timeoutMs
    this.#lookups = new CachedLookup({
      find: (tenantId) => this.#ask(options.findTenant, tenantId),
      max: maxPlacements,
      ttlMs: placementTtlMs,
      missingMax: maxUnknown,
      missingTtlMs: unknownTtlMs,
      isFresh: options.isFresh,
    })
  }

  /** What is remembered, without asking anyone; undefined when nothing is, or when it may be out of date. */
  peek(tenantId: string): KnownPlacement | undefined {
    return this.#lookups.peek(tenantId)
  }

  /**
   * Remembered or looked up. Throws `database_unavailable` when the look-up fails or takes too long, and a signal's reason as
   * soon as it is aborted.
   */
  async find(
    tenantId: string,
    { timeoutMs = this.#timeoutMs, signals = [] }: Patience = {},
  ): Promise<KnownPlacement | undefined> {
    for (const signal of signals) signal.throwIfAborted()
    try {
      return await orAborted(within(timeoutMs, this.#lookups.get(tenantId)), signals)
    } catch (error) {
      for (const signal of signals) signal.throwIfAborted()
      if (error instanceof AppError) throw error
      throw new AppError('database_unavailable', 'The tenant cannot be looked up right now. Try again.', {
        cause: error,
      })
    }
  }

  invalidate(tenantId: string): void {
    this.#lookups.invalidate(tenantId)
  }

  invalidateAll(): void {
    this.#lookups.invalidateAll()
  }

  async #ask(findTenant: FindTenant, tenantId: string): Promise<KnownPlacement | undefined> {
    this.#started += 1
    const lookup = this.#started
    // Whoever asks after that starts anew and does not wait for an answer that may never come.
    const placement = await within(this.#timeoutMs, findTenant(tenantId))
    if (placement === undefined) return undefined
    if (placement.tenantId !== tenantId) throw new Error('the look-up answered with another tenant')
    return Object.freeze({ placement, identity: identityOf(placement), lookup })
  }
}
