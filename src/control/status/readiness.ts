import { within } from '../../kernel/within.ts'
import type { ReadyPart } from './routes.ts'

/** Answers whether one part works; throwing means it does not. `detail` names no host, no tenant, no secret. */
export type ReadyCheck = { name: string; check: () => Promise<string> }

/** Longer than this counts as not working: a load balancer does not wait. */
const timeoutMs = 2_000

const run = async ({ name, check }: ReadyCheck): Promise<ReadyPart> => {
  try {
    return { name, ok: true, detail: await within(timeoutMs, check()) }
  } catch {
    // What went wrong is for the log of that part; this answer is public.
    return { name, ok: false, detail: 'not available' }
  }
}

/**
 * Asks every part at once. Whoever asks meanwhile gets the same answer: anybody may ask, so a flood must not reach the
 * databases. While `isStopping` holds, the node is not ready whatever its parts say.
 */
export const createReadiness = (
  checks: readonly ReadyCheck[],
  isStopping: () => boolean,
): (() => Promise<ReadyPart[]>) => {
  let asking: Promise<ReadyPart[]> | undefined
  return async () => {
    asking ??= Promise.all(checks.map(run)).finally(() => {
      asking = undefined
    })
    const parts = await asking
    return isStopping() ? [{ name: 'process', ok: false, detail: 'stopping' }, ...parts] : parts
  }
}
