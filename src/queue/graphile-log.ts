import { Logger as GraphileLogger } from 'graphile-worker'
import type { Logger } from '../kernel/log.ts'

/**
 * graphile-worker's messages in our own log. Its info is our debug (a line for each job), and of what it hands along
 * only the job's name and id are kept: payloads have no place in a log.
 */
export const graphileLog = (log: Logger): GraphileLogger =>
  new GraphileLogger((scope) => (level, message) => {
    const fields = { task: scope.taskIdentifier, job: scope.jobId }
    if (level === 'error') log.error(fields, message)
    else if (level === 'warning') log.warn(fields, message)
    else log.debug(fields, message)
  })
