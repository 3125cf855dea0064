import fastifyCors from '@fastify/cors'
import { publicRoute } from './access-rules.ts'
import type { App } from './app.ts'

const methods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE']
const requestHeaders = [
  ...['authorization', 'content-type', 'idempotency-key', 'if-match', 'if-none-match'],
  ...['x-auth-mode', 'x-csrf-token'],
]
const answerHeaders = [
  ...['x-request-id', 'etag', 'location', 'retry-after', 'idempotency-replayed'],
  ...['ratelimit-limit', 'ratelimit-remaining', 'ratelimit-reset'],
]
/** Seconds that a browser may remember a preflight. */
const preflightSeconds = 600

/**
 * Lets pages of these origins, spelled exactly so, read the answers and send credentials. To all others nothing is said, and
 * without any origin nothing is added to the way of a request. Must come before the route ledger is opened.
 */
export const registerCors = async (app: App, origins: readonly string[]): Promise<void> => {
  if (origins.length === 0) return
  const listed = new Set(origins)
  // The plugin answers preflights in its hook; its one route is there for the shape only, and names no rule.
  app.addHook('onRoute', (route) => {
    if (route.method !== 'OPTIONS' || route.url !== '*') return
    route.config = { ...route.config, ...publicRoute('preflights carry no identity and do nothing') }
  })
  await app.register(fastifyCors, {
    origin: (origin, done) => done(null, origin !== undefined && listed.has(origin) && origin),
    credentials: true,
    methods,
    allowedHeaders: requestHeaders,
    exposedHeaders: answerHeaders,
    maxAge: preflightSeconds,
  })
}
