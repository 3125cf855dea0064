import type { Slot } from './tenant-pool.ts'

/**
 * A turn: while others wait, a connection stays with its tenant for as many as the tenant's weight says before its permit goes to
 * the next one. Five times what a connect costs (5 ms with SCRAM), so that at most a sixth of the time goes into connecting.
 */
export const turnMs = 25
/** Nor for longer than this, or than its turns when these are more: others do not wait for 5 s. */
const longestMs = 1_000

/**
 * Counts the connection's turns, and is true when its tenant has had all of them, or has had it for long enough. To be called whenever it
 * could serve again: a turn is over with the first such moment after its time, so that weight counts alike for work that is shorter
 * than a turn and longer.
 */
export const hadItsTurns = (slot: Slot, now: number): boolean => {
  const { weight } = slot.pool
  if (slot.turns < weight && now - slot.turnSince >= turnMs) {
    slot.turns += 1
    slot.turnSince = now
  }
  return slot.turns >= weight || now - slot.keptSince >= Math.max(longestMs, turnMs * weight)
}

/** The connection's turns begin: it is open, or taken after it was idle, or kept when it was its tenant's turn again. */
export const beginTurns = (slot: Slot, now: number): void => {
  slot.turns = 0
  slot.turnSince = now
  slot.keptSince = now
}
