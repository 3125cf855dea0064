import type { Logger } from '../kernel/log.ts'

/** What this node limits itself to on a cluster now, and how many connections it has there. */
export type Claim = Readonly<{ claim: number; inUse: number }>

/** Its fair part of the whole on a cluster, and what it can have already. */
export type Grant = Readonly<{
  clusterId: string
  /** Those that share the whole, this one included. */
  nodes: number
  whole: number
  target: number
  granted: number
}>

export type ShareLeaseOptions = Readonly<{
  /** Renews the lease for `leaseMs` from some moment between call and answer. */
  renew: (claims: ReadonlyMap<string, Claim>) => Promise<readonly Grant[]>
  /** Gives the shares up. */
  leave: () => Promise<void>
  leaseMs: number
  /** Server connections that this node has on the cluster, closing ones included. */
  inUse: (clusterId: string) => number
  /** The share on a cluster has changed; it counts from this moment on. */
  onShare: (clusterId: string, share: number) => void
  /** The lease is nearly over and could not be renewed: every connection must be gone, at once. */
  onLost: () => void
  log: Logger
  /** Monotonic milliseconds. */
  now?: () => number
}>

/** A lease is renewed six times in its life, and more often while shares move. */
const beatPart = 1 / 6
const quickBeatPart = 1 / 30
/** Without a renewal for this part of a lease nothing opens and idle connections close; after that one all are cut. */
const quietPart = 4 / 6
const cutPart = 5 / 6

/**
 * This node's shares of the clusters' budgets, held on a lease. The node's own deadlines count from before it asked,
 * so that they are over before others may have its share. See the README for the protocol.
 */
export class ShareLease {
  readonly #options: ShareLeaseOptions
  readonly #now: () => number
  readonly #shares = new Map<string, Grant>()
  /** What this node keeps to. Never more than what was granted for it. */
  readonly #totals = new Map<string, number>()
  #nodes = 1
  #quietAt = Number.NEGATIVE_INFINITY
  #quiet: NodeJS.Timeout | undefined
  #cut: NodeJS.Timeout | undefined
  #next: NodeJS.Timeout | undefined
  #beating: Promise<void> = Promise.resolve()
  #failing = false
  #closing: Promise<void> | undefined

  constructor(options: ShareLeaseOptions) {
    this.#options = options
    this.#now = options.now ?? (() => performance.now())
  }

  /**
   * Takes the first lease, and waits until there is a connection for this node on every cluster: for as long as a
   * killed node's lease may last; says in the log where there is none. Throws when the lease can't be had.
   */
  async open(): Promise<void> {
    const { leaseMs } = this.#options
    await this.#renew()
    this.#schedule()
    const patience = this.#now() + leaseMs * 1.5
    while (!this.#everywhere && this.#now() < patience && this.#closing === undefined)
      await new Promise((resolve) => setTimeout(resolve, leaseMs * quickBeatPart))
    const none = this.grants().filter(({ clusterId }) => this.shareOf(clusterId) === 0)
    for (const { clusterId, nodes, whole } of this.#closing === undefined ? none : [])
      this.#options.log.warn(
        { clusterId, nodes, whole },
        'no connection is left for this node, so it serves no tenant there: raise CONNECTION_BUDGET or run fewer nodes',
      )
  }

  /** True while this node may open connections. Asked before each, because a process can be stopped and go on late. */
  get holds(): boolean {
    return this.#now() < this.#quietAt
  }

  /** Connections this node may have on the cluster. */
  shareOf(clusterId: string): number {
    return this.holds ? (this.#totals.get(clusterId) ?? 0) : 0
  }

  /** How many nodes share the budgets, this one included. */
  get nodes(): number {
    return this.#nodes
  }

  /** The last answer about each cluster. */
  grants(): readonly Grant[] {
    return [...this.#shares.values()]
  }

  /** Gives the shares up. Close every connection first. Safe twice. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    clearTimeout(this.#next)
    await this.#beating
    for (const timer of [this.#next, this.#quiet, this.#cut]) clearTimeout(timer)
    // Nobody learns anything from a master that is gone: the lease ends by itself.
    await this.#options.leave().catch(() => {})
  }

  get #everywhere(): boolean {
    return this.grants().every(({ clusterId, target }) => target === 0 || this.shareOf(clusterId) > 0)
  }

  #schedule(): void {
    if (this.#closing !== undefined) return
    const settled = this.grants().every(({ target, granted }) => target === granted)
    const part = settled && !this.#failing ? beatPart : quickBeatPart
    // Some jitter, so that nodes do not queue for the same lock.
    const pauseMs = this.#options.leaseMs * part * (0.8 + 0.2 * Math.random())
    this.#next = setTimeout(() => {
      this.#beating = this.#renew()
        .catch((error: unknown) => this.#failed(error))
        .then(() => this.#schedule())
    }, pauseMs)
  }

  #failed(error: unknown): void {
    if (!this.#failing)
      this.#options.log.warn({ err: error }, 'the lease on connections could not be renewed')
    this.#failing = true
  }

  async #renew(): Promise<void> {
    const claims = new Map<string, Claim>()
    for (const [clusterId, total] of this.#totals) {
      const inUse = this.#options.inUse(clusterId)
      claims.set(clusterId, { claim: Math.max(total, inUse), inUse })
    }
    const asked = this.#now()
    const grants = await this.#options.renew(claims)
    const { leaseMs } = this.#options
    // An answer that took this long grants a lease that is nearly over.
    if (this.#now() >= asked + leaseMs * quietPart) throw new Error('the answer came too late')
    if (this.#failing) this.#options.log.info('the lease on connections is renewed again')
    this.#failing = false
    this.#quietAt = asked + leaseMs * quietPart
    this.#setTimers(asked)
    const gone = new Set(this.#totals.keys())
    for (const grant of grants) {
      gone.delete(grant.clusterId)
      this.#shares.set(grant.clusterId, grant)
      this.#nodes = Math.max(1, grant.nodes)
      this.#setTotal(grant.clusterId, Math.min(grant.target, grant.granted))
    }
    for (const clusterId of gone) this.#setTotal(clusterId, 0)
  }

  #setTimers(asked: number): void {
    const { leaseMs, log, onLost } = this.#options
    clearTimeout(this.#quiet)
    clearTimeout(this.#cut)
    this.#quiet = setTimeout(
      () => {
        log.error('the lease on connections was not renewed: nothing opens until it is')
        for (const clusterId of this.#totals.keys()) this.#setTotal(clusterId, 0)
      },
      asked + leaseMs * quietPart - this.#now(),
    )
    this.#cut = setTimeout(onLost, asked + leaseMs * cutPart - this.#now())
  }

  #setTotal(clusterId: string, total: number): void {
    if (this.#totals.get(clusterId) === total) return
    this.#totals.set(clusterId, total)
    this.#options.onShare(clusterId, total)
  }
}
