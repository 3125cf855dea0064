import type { FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import type { SigningKeys } from '../../access/signing-keys.ts'
import { publicRoute } from '../../http/access-rules.ts'
import type { App } from '../../http/app.ts'
import type { Metrics } from '../../http/metrics.ts'
import { answers } from '../../http/schemas.ts'
import { sameBytes, sha256 } from '../../kernel/crypto.ts'
import { AppError } from '../../kernel/errors.ts'

/** One part of readiness: its name and whether it works right now. */
export type ReadyPart = { name: string; ok: boolean; detail: string }

export type StatusDeps = {
  version: string
  checkReady: () => Promise<ReadyPart[]>
  metrics: Metrics
  metricsToken: string | undefined
  keys: SigningKeys
}

const tags = ['Status']
const loopback = /^(127\.|::1$|::ffff:127\.)/
const forwarding = ['forwarded', 'via', 'x-forwarded-for', 'x-real-ip']

const links = {
  documentation: '/docs',
  openapi: '/docs/json',
  health: '/health',
  ready: '/health/ready',
  jwks: '/.well-known/jwks.json',
}

const refuseStranger = (request: FastifyRequest, token: string | undefined): void => {
  const sent = /^Bearer (.+)$/i.exec(request.headers.authorization ?? '')?.[1]
  if (token !== undefined && sent !== undefined && sameBytes(sha256(sent), sha256(token))) return
  // What a proxy on this machine hands on comes from loopback too, but not from here.
  const handedOn = forwarding.some((name) => request.headers[name] !== undefined)
  if (sent === undefined && loopback.test(request.ip) && !handedOn) return
  throw new AppError('unauthenticated', 'Metrics are for loopback, or for the bearer of METRICS_TOKEN.')
}

const ReadyView = Type.Object({
  status: Type.Union([Type.Literal('ready'), Type.Literal('not_ready')]),
  parts: Type.Array(Type.Object({ name: Type.String(), ok: Type.Boolean(), detail: Type.String() })),
})

const healthRoutes = (app: App, deps: StatusDeps): void => {
  app.get(
    '/health',
    {
      config: publicRoute('load balancers ask whether the process lives'),
      schema: {
        tags,
        summary: 'Alive',
        response: answers({ 200: Type.Object({ status: Type.Literal('ok') }) }),
      },
    },
    async () => ({ status: 'ok' as const }),
  )
  app.get(
    '/health/ready',
    {
      config: publicRoute('load balancers ask whether to send requests; names no host and no tenant'),
      schema: { tags, summary: 'Ready for requests', response: { 200: ReadyView, 503: ReadyView } },
    },
    async (_request, reply) => {
      const parts = await deps.checkReady()
      const ready = parts.every((part) => part.ok)
      if (!ready) reply.code(503).header('retry-after', '1')
      return { status: ready ? ('ready' as const) : ('not_ready' as const), parts }
    },
  )
}

/** What anybody may know about the service: that it is there, how it is, and the keys that verify its tokens. */
export const statusRoutes = (app: App, deps: StatusDeps): void => {
  app.get(
    '/',
    {
      config: publicRoute('says what answers here'),
      schema: {
        tags,
        summary: 'Name and links',
        response: answers({
          200: Type.Object({
            name: Type.String(),
            version: Type.String(),
            links: Type.Record(Type.String(), Type.String()),
          }),
        }),
      },
    },
    async (request, reply) => {
      if (request.headers.accept?.includes('text/html')) return reply.redirect(links.documentation) as never
      return { name: 'Freehold', version: deps.version, links }
    },
  )
  healthRoutes(app, deps)
  app.get(
    '/metrics',
    { config: publicRoute('guarded by METRICS_TOKEN or loopback in its handler'), schema: { hide: true } },
    async (request, reply) => {
      refuseStranger(request, deps.metricsToken)
      return reply.type(deps.metrics.contentType).send(await deps.metrics.render())
    },
  )
  app.get(
    '/.well-known/jwks.json',
    {
      config: publicRoute('public keys are public'),
      schema: {
        tags,
        summary: 'Keys that verify access tokens (RFC 7517)',
        response: {
          200: Type.Object({ keys: Type.Array(Type.Record(Type.String(), Type.String())) }),
          304: Type.Null({ description: 'As you have it' }),
        },
      },
    },
    async (request, reply) => {
      const { keys } = deps.keys.jwks()
      const etag = `"${sha256(keys.map(({ kid }) => kid).join()).toString('base64url')}"`
      // Half as long as a new key is published before it signs.
      reply.header('cache-control', 'public, max-age=300').header('etag', etag)
      if (request.headers['if-none-match'] === etag) return reply.code(304).send(null) as never
      return { keys: keys.map((key) => ({ ...key })) }
    },
  )
}
