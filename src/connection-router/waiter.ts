import type { Clock } from '../kernel/clock.ts'
import type { AppError } from '../kernel/errors.ts'
import { overloaded } from './connect-errors.ts'
import { FairQueue, type Ticket } from './fair-queue.ts'
import type { Pace } from './pace.ts'
import type { RouterCounters } from './stats.ts'
import type { ServerConnection, Slot, TenantPool } from './tenant-pool.ts'

/** Thrown to those who wait for a pool whose identity is no longer the tenant's: look the tenant up again. */
export class PoolRetired extends Error {
  override readonly name = 'PoolRetired'
}

/**
 * How long one wait may take, and what else may end it. `patienceMs` is how long all waits together may take, looking the
 * tenant up included, of which this one has the rest.
 */
export type WaitLimits = Readonly<{
  timeoutMs: number
  patienceMs?: number
  /** Each by itself: one that is made of several costs more than the whole wait. */
  signals?: readonly AbortSignal[]
}>

/** Someone who waits for a connection of one pool. Whoever takes it from the queue settles it, once. */
export type Waiter<C extends ServerConnection> = {
  readonly pool: TenantPool<C>
  /** Milliseconds since 1970. */
  readonly since: number
  give(slot: Slot<C>): void
  refuse(error: unknown): void
}

export type WaitQueue<C extends ServerConnection> = FairQueue<Waiter<C>>

export const newWaitQueue = <C extends ServerConnection>(): WaitQueue<C> => new FairQueue<Waiter<C>>()

/** Refuses all who wait for such pools; of one tenant only, when it is named. */
export const refuseWaiting = <C extends ServerConnection>(
  queue: WaitQueue<C>,
  which: (pool: TenantPool<C>) => boolean,
  error: unknown,
  ofTenantId?: string,
): void => {
  for (const tenantId of ofTenantId === undefined ? [...queue.tenants()] : [ofTenantId]) {
    for (const ticket of queue.line(tenantId)) {
      if (which(ticket.item.pool) && queue.remove(ticket)) ticket.item.refuse(error)
    }
  }
}

/** A wait with a deadline. It is settled once, by whoever calls `give` or `refuse` first, or by the deadline. */
export type Wait<T> = { readonly promise: Promise<T>; give(value: T): void; refuse(error: unknown): void }

// Whoever waited for 5 s in vain finds no room a second later either; a crowd that comes back then keeps the node busy.
const inVain = (why: string, patienceMs: number): AppError =>
  overloaded(new Error(why), Math.ceil(patienceMs / 1_000))

/** Where somebody is about to wait: behind so many others of the tenant. Who has `waitedBefore` is let in however many they are. */
export type Place<C extends ServerConnection> = Readonly<{
  queue: WaitQueue<C>
  pool: TenantPool<C>
  ahead: number
  waitedBefore?: boolean
}>

/**
 * Refuses whoever would wait in vain, with `overloaded`. A tenant whose server hardly answers then keeps few requests in memory,
 * however many come: each one that is kept makes the collector's pauses longer, for everyone.
 */
export const admit = <C extends ServerConnection>(
  { queue, pool, ahead, waitedBefore = false }: Place<C>,
  { timeoutMs, patienceMs = timeoutMs }: WaitLimits,
  counters: RouterCounters,
  clock: Clock,
): void => {
  const now = clock.now().getTime()
  if (pool.line.size === 0 && queue.waiting(pool.tenantId) === 0) pool.pace.begin(now)
  if (waitedBefore || !pool.pace.isInVain(ahead, now, patienceMs)) return
  counters.hopeless += 1
  // They are spared the wait, not the pause after it: else they would be back twice as often as who waits.
  throw inVain(`${ahead} wait already`, 2 * patienceMs)
}

/**
 * Starts to wait. At the deadline it is refused with `overloaded`, to be tried again after as long a wait, and when a signal
 * is aborted with its reason; before that, `leave` is called.
 */
export const startWait = <T>(
  { pace }: { pace: Pace },
  { timeoutMs, patienceMs = timeoutMs, signals = [] }: WaitLimits,
  counters: RouterCounters,
  clock: Clock,
  leave: () => void,
): Wait<T> => {
  for (const signal of signals) signal.throwIfAborted()
  const { promise, resolve, reject } = Promise.withResolvers<T>()
  const since = clock.now().getTime()
  const settle = (): void => {
    clearTimeout(timer)
    for (const signal of signals) signal.removeEventListener('abort', onAbort)
  }
  const refuse = (error: unknown): void => {
    settle()
    reject(error)
  }
  const onAbort = ({ target }: Event): void => {
    leave()
    refuse((target as AbortSignal).reason)
  }
  const timer = setTimeout(() => {
    counters.timeouts += 1
    leave()
    refuse(inVain(`no connection became free within ${patienceMs} ms`, patienceMs))
  }, timeoutMs)
  for (const signal of signals) signal.addEventListener('abort', onAbort)
  const give = (value: T): void => {
    settle()
    pace.served()
    counters.recordWait(clock.now().getTime() - since)
    resolve(value)
  }
  return { promise, give, refuse }
}

/**
 * Joins the queue. The promise is settled by whoever takes the waiter out, or rejected with `overloaded` at the
 * deadline, or with a signal's reason when it is aborted; in both cases it has left the queue. Throws as `admit` does.
 */
export const joinQueue = <C extends ServerConnection>(
  queue: WaitQueue<C>,
  pool: TenantPool<C>,
  limits: WaitLimits,
  counters: RouterCounters,
  clock: Clock,
): Promise<Slot<C>> => {
  const { tenantId } = pool
  admit({ queue, pool, ahead: queue.waiting(tenantId) }, limits, counters, clock)
  const wait = startWait<Slot<C>>(pool, limits, counters, clock, () => queue.remove(ticket))
  const { give, refuse } = wait
  const since = clock.now().getTime()
  const ticket: Ticket<Waiter<C>> = queue.push(tenantId, { pool, since, give, refuse })
  return wait.promise
}
