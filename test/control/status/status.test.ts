import t from 'tap'
import { startFreehold } from '../../helpers/freehold.ts'

const { call, app, routes, newTenant } = await startFreehold(t, { METRICS_TOKEN: 'a-token-for-metrics' })

type OpenApi = {
  openapi: string
  paths: Record<
    string,
    Record<string, { security?: unknown; responses: Record<string, unknown>; summary?: string }>
  >
  components: { schemas: Record<string, unknown> }
}

t.test('the root says what answers here, and sends browsers to something readable', async (t) => {
  t.match((await call('GET', '/')).body, {
    name: 'Freehold',
    version: /^\d/,
    links: { documentation: '/docs' },
  })
  const page = await call('GET', '/', { headers: { accept: 'text/html,*/*' } })
  t.equal(page.status, 302)
})

t.test('/docs/json is OpenAPI 3.1 of exactly the routes there are', async (t) => {
  const { body, status } = await call('GET', '/docs/json')
  t.equal(status, 200)
  const document = body as unknown as OpenApi
  t.match(document.openapi, /^3\.1\./)
  const documented = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path.replace(/\{(\w+)\}/g, ':$1')}`),
  )
  const hidden = /^GET \/(docs|metrics)/
  const real = routes.map(({ method, path }) => `${method} ${path}`).filter((route) => !hidden.test(route))
  t.strictSame(documented.sort(), real.sort())
  for (const { method, path, access } of routes.filter(
    (route) => !hidden.test(`${route.method} ${route.path}`),
  )) {
    const operation = document.paths[path.replace(/:(\w+)/g, '{$1}')]?.[method.toLowerCase()]
    t.equal(
      operation?.security !== undefined,
      access.scope !== 'public',
      `${method} ${path} says whether it wants a token`,
    )
    t.ok(operation?.summary, `${method} ${path} has a summary`)
  }
  t.ok(document.components.schemas.Problem, 'the error body is named')
})

t.test('/docs is a page whose parts all come from here', async (t) => {
  const page = await call('GET', '/docs')
  t.match(page.headers['content-type'], /^text\/html/)
  t.match(page.headers['content-security-policy'], /default-src 'none'/)
  t.notMatch(page.text, /https?:\/\//)
  for (const [, file = ''] of page.text.matchAll(/(?:src|href)="([^"]+)"/g)) {
    const part = await call('GET', file)
    t.equal(part.status, 200, file)
    t.ok(part.text.length > 50)
  }
})

t.test('health answers, and ready lists its parts', async (t) => {
  t.strictSame((await call('GET', '/health')).body, { status: 'ok' })
  t.match((await call('GET', '/health/ready')).body, { status: 'ready', parts: Array })
})

t.test('metrics are for loopback and for the bearer of the token', async (t) => {
  await newTenant()
  const get = (remoteAddress: string, authorization?: string) =>
    app.inject({
      url: '/metrics',
      remoteAddress,
      headers: authorization === undefined ? {} : { authorization },
    })
  const local = await get('127.0.0.1')
  t.equal(local.statusCode, 200)
  t.match(local.body, /freehold_http_request_duration_seconds_bucket\{.*route="\/auth\/register"/)
  t.match(local.body, /freehold_router_permits\{cluster="/)
  t.equal((await get('203.0.113.7')).statusCode, 401)
  t.equal((await get('203.0.113.7', 'Bearer wrong')).statusCode, 401)
  t.equal((await get('127.0.0.1', 'Bearer wrong')).statusCode, 401)
  t.equal((await get('203.0.113.7', 'Bearer a-token-for-metrics')).statusCode, 200)
  for (const name of ['x-forwarded-for', 'forwarded', 'via', 'x-real-ip']) {
    const headers = { [name]: '127.0.0.1' }
    const { statusCode } = await app.inject({ url: '/metrics', remoteAddress: '127.0.0.1', headers })
    t.equal(statusCode, 401, `handed on by a proxy beside us: ${name}`)
  }
})
