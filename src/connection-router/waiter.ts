import type { Clock } from '../kernel/clock.ts'
import { overloaded } from './connect-errors.ts'
import { FairQueue, type Ticket } from './fair-queue.ts'
import type { RouterCounters } from './stats.ts'
import type { ServerConnection, Slot, TenantPool } from './tenant-pool.ts'

/** How long one wait may take, and what else may end it. */
export type WaitLimits = Readonly<{ timeoutMs: number; signal?: AbortSignal | undefined }>

/** Someone who waits for a connection of one pool. Whoever takes it from the queue settles it, once. */
export type Waiter<C extends ServerConnection> = {
  readonly pool: TenantPool<C>
  give(slot: Slot<C>): void
  refuse(error: unknown): void
}

export type WaitQueue<C extends ServerConnection> = FairQueue<Waiter<C>>

export const newWaitQueue = <C extends ServerConnection>(): WaitQueue<C> => new FairQueue<Waiter<C>>()

/**
 * Joins the queue. The promise is settled by whoever takes the waiter out, or rejected with `overloaded` at the
 * deadline, or with the signal's reason when it is aborted; in both cases it has left the queue.
 */
export const joinQueue = <C extends ServerConnection>(
  queue: WaitQueue<C>,
  pool: TenantPool<C>,
  { timeoutMs, signal }: WaitLimits,
  counters: RouterCounters,
  clock: Clock,
): Promise<Slot<C>> => {
  signal?.throwIfAborted()
  const { promise, resolve, reject } = Promise.withResolvers<Slot<C>>()
  const since = clock.now().getTime()
  let ticket: Ticket<Waiter<C>>
  const leave = (error: unknown): void => {
    queue.remove(ticket)
    refuse(error)
  }
  const onAbort = (): void => leave(signal?.reason)
  const timer = setTimeout(() => {
    counters.timeouts += 1
    leave(overloaded(new Error(`no connection became free within ${timeoutMs} ms`)))
  }, timeoutMs)
  signal?.addEventListener('abort', onAbort, { once: true })
  const settle = (): void => {
    clearTimeout(timer)
    signal?.removeEventListener('abort', onAbort)
  }
  const refuse = (error: unknown): void => {
    settle()
    reject(error)
  }
  const give = (slot: Slot<C>): void => {
    settle()
    counters.recordWait(clock.now().getTime() - since)
    resolve(slot)
  }
  ticket = queue.push(pool.tenantId, { pool, give, refuse })
  return promise
}
