import type { Slot } from './tenant-pool.ts'

/**
 * A turn: while others wait, a connection stays with its tenant for as many as the tenant's weight says before its permit goes to
 * the next one. Five times what a connect costs (5 ms with SCRAM), so that at most a sixth of the time goes into connecting.
 */
const turnMs = 25

/**
 * Counts the connection's turns, and is true when its tenant has had all of them. To be called whenever it could serve again: a turn
 * is over with the first such moment after its time, so that weight counts alike for work that is shorter than a turn and longer.
 */
export const hadItsTurns = (slot: Slot, now: number): boolean => {
  const { weight } = slot.pool
  if (slot.turns < weight && now - slot.turnSince >= turnMs) {
    slot.turns += 1
    slot.turnSince = now
  }
  return slot.turns >= weight
}
