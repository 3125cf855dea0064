import { setTimeout as sleep } from 'node:timers/promises'
import type { TenantDb } from '../tenant-scope.ts'
import { beat, type ClaimedJob } from './claims.ts'
import { JobError } from './job-type.ts'

/** The claimed jobs of one look, kept alive until each has ended. */
export type HeldJobs = {
  /** Its try begins now. The signal is aborted when the job is no longer this worker's, or takes too long. */
  begin(job: ClaimedJob): AbortSignal
  /** It has ended, or was put back. */
  drop(job: ClaimedJob): void
  stop(): Promise<void>
}

/**
 * Says every `heartbeatMs` that these jobs are alive, and `onBeat` something more. A try that takes longer than `longestMs`
 * is stopped. `stop` waits for a word under way.
 */
export const holdJobs = (
  db: TenantDb,
  jobs: readonly ClaimedJob[],
  { heartbeatMs, longestMs, onBeat }: { heartbeatMs: number; longestMs: number; onBeat: () => Promise<void> },
): HeldJobs => {
  const held = new Map(
    jobs.map((job) => [job.id, { job, controller: new AbortController(), since: Number.POSITIVE_INFINITY }]),
  )
  const ending = new AbortController()
  const beatOnce = async (): Promise<void> => {
    const mine = [...held.values()].map(({ job }) => job)
    if (mine.length === 0) return
    const alive = await beat(db, mine)
    for (const [id, { controller, since }] of held) {
      if (!alive.has(id)) controller.abort(new JobError('It was cancelled or taken back.'))
      else if (performance.now() - since > longestMs) controller.abort(new JobError('It took too long.'))
    }
    await onBeat()
  }
  const keepBeating = async (): Promise<void> => {
    while (!ending.signal.aborted) {
      await sleep(heartbeatMs, undefined, { signal: ending.signal }).catch(() => {})
      // A word that is lost is followed by the next; when too many are, the job is another worker's.
      if (!ending.signal.aborted) await beatOnce().catch(() => {})
    }
  }
  const beating = keepBeating()
  return {
    begin: ({ id }) => {
      const one = held.get(id)
      if (one === undefined) throw new Error('a job was begun that is not held')
      one.since = performance.now()
      return one.controller.signal
    },
    drop: ({ id }) => void held.delete(id),
    stop: async () => {
      ending.abort()
      await beating
    },
  }
}
