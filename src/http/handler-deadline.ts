import type { FastifyReply } from 'fastify'
import { AppError } from '../kernel/errors.ts'
import type { App } from './app.ts'

/**
 * Answers `overloaded` for handlers that have not begun to answer `deadlineMs` after their request came, up to a second
 * late. One timer looks at all requests: Fastify's own `handlerTimeout` makes a timer, an AbortController and a listener
 * for each, which costs a fast request a twentieth of its time.
 */
export const limitHandlers = (
  app: App,
  { deadlineMs, lookMs = Math.min(1_000, deadlineMs) }: { deadlineMs: number; lookMs?: number },
): { readonly running: number } => {
  const looks = Math.ceil(deadlineMs / lookMs)
  /** Requests without an answer, and the number of the look before which they came. */
  const running = new Map<FastifyReply, number>()
  let look = 0
  const onTime = (): void => {
    look += 1
    for (const [reply, since] of running) {
      const { raw } = reply
      // A client that left gets no answer, so that nothing else takes it off the list.
      if (raw.destroyed || raw.headersSent || reply.sent) running.delete(reply)
      else if (look - since > looks) {
        running.delete(reply)
        reply.send(new AppError('overloaded', 'The request took too long; try again in a moment.'))
      }
    }
  }
  const timer = setInterval(onTime, lookMs).unref()
  app.addHook('onClose', (_app, done) => {
    clearInterval(timer)
    done()
  })
  app.addHook('onRequest', (_request, reply, done) => {
    running.set(reply, look)
    done()
  })
  app.addHook('onResponse', (_request, reply, done) => {
    running.delete(reply)
    done()
  })
  return {
    get running() {
      return running.size
    },
  }
}
