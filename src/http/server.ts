import Fastify, { LogController } from 'fastify'
import { newId } from '../kernel/ids.ts'
import type { Logger } from '../kernel/log.ts'
import type { App } from './app.ts'
import { registerProblems, sendProblem, toAppError } from './problems.ts'
import { Problem } from './schemas.ts'
import { createValidator } from './validation.ts'

/** One body; what is larger belongs into storage, not into an API call. */
const bodyLimitBytes = 1024 * 1024
/** The whole request must have arrived by then: slow senders do not keep sockets. */
const requestTimeoutMs = 15_000
/** A handler has answered by then or the caller gets a 503. Longer than any statement may take. */
const handlerTimeoutMs = 35_000
const keepAliveTimeoutMs = 72_000

/** Bodies are JSON in UTF-8 (RFC 8259, 8.1) and nothing else; what says otherwise is refused before it is read. */
const jsonInUtf8 = /^application\/json\s*(;\s*charset="?utf-8"?\s*)?$/i

/** A Fastify instance with our errors, limits, validation and one log line a request, and no routes yet. */
export const createServer = (log: Logger): App => {
  const app = Fastify({
    loggerInstance: log,
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: 'requestId' }),
    genReqId: () => newId(),
    // Never taken from the caller: an id that an attacker chooses could be made to look like somebody else's.
    requestIdHeader: false,
    trustProxy: false,
    bodyLimit: bodyLimitBytes,
    requestTimeout: requestTimeoutMs,
    handlerTimeout: handlerTimeoutMs,
    keepAliveTimeout: keepAliveTimeoutMs,
    connectionTimeout: 0,
    exposeHeadRoutes: false,
    // Requests that are already on an open connection are still answered while the listener closes.
    return503OnClosing: false,
    frameworkErrors: (error, request, reply) => sendProblem(request, reply, toAppError(error)),
    forceCloseConnections: 'idle',
    routerOptions: { caseSensitive: true, ignoreTrailingSlash: false, ignoreDuplicateSlashes: false },
  }).withTypeProvider() as unknown as App
  app.removeAllContentTypeParsers()
  app.addContentTypeParser(jsonInUtf8, { parseAs: 'string' }, app.getDefaultJsonParser('error', 'error'))
  app.setValidatorCompiler(createValidator())
  app.addSchema(Problem)
  registerProblems(app)
  app.addHook('onRequest', async (request, reply) => {
    reply.header('x-request-id', request.id)
    reply.header('x-content-type-options', 'nosniff')
    reply.header('cache-control', 'no-store')
  })
  app.addHook('onResponse', async (request, reply) => {
    // The route's pattern, never the address itself: paths and queries can hold tokens.
    request.log.info(
      {
        method: request.method,
        route: request.routeOptions.url ?? null,
        status: reply.statusCode,
        ms: Math.round(reply.elapsedTime * 10) / 10,
      },
      'request',
    )
  })
  return app
}
