import Fastify, { type FastifyReply, type FastifyRequest, LogController } from 'fastify'
import { newId } from '../kernel/ids.ts'
import type { Logger } from '../kernel/log.ts'
import type { App } from './app.ts'
import { registerBodyParser } from './body.ts'
import { answerBrokenRequest } from './broken-requests.ts'
import { limitHandlers } from './handler-deadline.ts'
import { registerProblems, sendProblem, toAppError } from './problems.ts'
import { Problem } from './schemas.ts'
import { type Headers, securityHeaders } from './security-headers.ts'
import { lateSerializers } from './serialization.ts'
import { compileSchema } from './validation.ts'

/** One body; what is larger belongs into storage, not into an API call. */
const bodyLimitBytes = 1024 * 1024
/** The headers, and the whole request, must have arrived by then, give or take a check: slow senders do not keep sockets. */
const headersTimeoutMs = 10_000
const requestTimeoutMs = 15_000
const timeoutCheckMs = 5_000
/** A handler has begun to answer by then or the caller gets a 503. Longer than any statement may take. */
const handlerDeadlineMs = 35_000
const keepAliveTimeoutMs = 72_000

type Options = {
  /** Addresses whose x-forwarded-for is believed. */
  trustedProxies?: readonly string[]
  /** What every answer carries, whatever happens. */
  headers?: Headers
}

/** A Fastify instance with our errors, limits, validation and one log line a request, and no routes yet. */
export const createServer = (
  log: Logger,
  { trustedProxies = [], headers = securityHeaders('http://localhost') }: Options = {},
): App => {
  /** Also for what is refused before any hook runs. */
  const setCommonHeaders = (request: FastifyRequest, reply: FastifyReply): void => {
    reply.header('x-request-id', request.id)
    reply.headers(headers)
  }
  const app = Fastify({
    loggerInstance: log,
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: 'requestId' }),
    genReqId: () => newId(),
    // Never taken from the caller: an id that an attacker chooses could be made to look like somebody else's.
    requestIdHeader: false,
    // Whoever is none of these is the client itself, whatever x-forwarded-for it sends.
    trustProxy: trustedProxies.length === 0 ? false : [...trustedProxies],
    bodyLimit: bodyLimitBytes,
    requestTimeout: requestTimeoutMs,
    // Node swaps the two when the headers' is the longer one, and its own is a minute.
    http: { headersTimeout: headersTimeoutMs, connectionsCheckingInterval: timeoutCheckMs },
    keepAliveTimeout: keepAliveTimeoutMs,
    connectionTimeout: 0,
    exposeHeadRoutes: false,
    // Requests that are already on an open connection are still answered while the listener closes.
    return503OnClosing: false,
    frameworkErrors: (error, request, reply) => {
      setCommonHeaders(request, reply)
      return sendProblem(request, reply, toAppError(error))
    },
    clientErrorHandler: answerBrokenRequest(headers),
    forceCloseConnections: 'idle',
    schemaController: lateSerializers,
    routerOptions: { caseSensitive: true, ignoreTrailingSlash: false, ignoreDuplicateSlashes: false },
  }).withTypeProvider() as unknown as App
  registerBodyParser(app)
  app.setValidatorCompiler(compileSchema)
  app.addSchema(Problem)
  registerProblems(app)
  limitHandlers(app, { deadlineMs: handlerDeadlineMs })
  app.addHook('onRequest', (request, reply, done) => {
    setCommonHeaders(request, reply)
    done()
  })
  app.addHook('onResponse', (request, reply, done) => {
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
    done()
  })
  return app
}
