import type { AddressInfo } from 'node:net'
import { connect } from 'node:net'
import t from 'tap'
import { type Answer, type Freehold, startNode } from '../helpers/freehold.ts'
import { startTestPostgres } from '../helpers/postgres.ts'

const postgres = await startTestPostgres(t)
const origin = 'https://app.example.com'
const plain = await startNode(t, postgres)
const open = await startNode(t, postgres, {
  PUBLIC_URL: 'https://api.example.com',
  CORS_ORIGINS: `${origin}, http://localhost:5173`,
})

const always = {
  'x-content-type-options': 'nosniff',
  'cache-control': 'no-store',
  'referrer-policy': 'no-referrer',
  'content-security-policy': /^default-src 'none';.*frame-ancestors 'none'/,
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'strict-transport-security': 'max-age=31536000',
}
const hsts = 'strict-transport-security'
/** What may be kept: the same for everybody. */
const kept = new Set([
  '/.well-known/jwks.json',
  '/auth/config',
  '/docs/assets/swagger-ui.css',
  '/docs/assets/swagger-ui-bundle.js',
])

t.test('every route answers with the security headers, whether it admits or refuses', async (t) => {
  t.ok(open.routes.length > 30)
  for (const { method, path } of open.routes) {
    const url = path.replace(/:\w+/g, '018f0000-0000-7000-8000-000000000000').replace('*', '/any/thing')
    const { headers, status } = await open.call(method, url)
    const wanted = kept.has(path) ? { ...always, 'cache-control': /^public, max-age=\d+$/ } : always
    t.match(headers, wanted, `${method} ${path} ${status}`)
    const pageOfOurs = String(headers['content-type']).startsWith('text/html')
    const policy = String(headers['content-security-policy'])
    if (pageOfOurs) t.notMatch(policy, /script-src[^;]*('unsafe-|\*|https?:)/, path)
    else t.equal(policy, "default-src 'none'; frame-ancestors 'none'", path)
  }
})

t.test('HSTS is said only where people come by TLS, whatever a proxy says', async (t) => {
  const { headers } = await plain.call('GET', '/health', { headers: { 'x-forwarded-proto': 'https' } })
  t.equal(headers[hsts], undefined)
  t.match((await open.call('GET', '/health', { headers: { 'x-forwarded-proto': 'http' } })).headers, always)
})

t.test('what has no route, or never became a request, carries them too', async (t) => {
  for (const url of ['/nowhere', '/%', '//health', '/auth/%2e%2e/health']) {
    t.match((await open.call('GET', url)).headers, always, url)
  }
  t.match((await open.call('POST', '/auth/login', { body: { x: 1 } })).headers, always, 'bad input')
  await open.app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = open.app.server.address() as AddressInfo
  const answer = await new Promise<string>((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write('GARBAGE\r\n\r\n'))
    let text = ''
    socket.on('data', (data) => {
      text += data
    })
    socket.on('close', () => resolve(text))
    socket.on('error', reject)
  })
  t.match(answer, /^HTTP\/1.1 400 /)
  for (const name of Object.keys(always)) t.match(answer, new RegExp(`\\r\\n${name}: `), name)
})

const corsOf = ({ headers }: Answer) =>
  Object.fromEntries(Object.entries(headers).filter(([name]) => name.startsWith('access-control-')))
const preflight = (node: Freehold, from: string, url = '/api/projects') =>
  node.call('OPTIONS', url, {
    headers: {
      origin: from,
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'content-type,x-csrf-token,x-auth-mode',
    },
  })

t.test('a listed origin may ask, with credentials, and read what it needs', async (t) => {
  for (const from of [origin, 'http://localhost:5173']) {
    for (const url of ['/api/projects', '/auth/login', '/platform/tenants', '/nowhere']) {
      const answer = await preflight(open, from, url)
      t.equal(answer.status, 204, url)
      t.match(corsOf(answer), {
        'access-control-allow-origin': from,
        'access-control-allow-credentials': 'true',
        'access-control-allow-methods': /POST, PUT, PATCH, DELETE/,
        'access-control-allow-headers': /authorization.*content-type.*x-auth-mode.*x-csrf-token/,
        'access-control-max-age': '600',
      })
      t.match(answer.headers.vary, /origin/i)
    }
    const refused = await open.call('GET', '/api/projects', { headers: { origin: from } })
    t.equal(refused.status, 401, 'CORS admits nobody')
    t.match(corsOf(refused), {
      'access-control-allow-origin': from,
      'access-control-allow-credentials': 'true',
      'access-control-expose-headers': /x-request-id/,
    })
  }
})

t.test('no other origin is told anything: never reflected, no credentials, no wildcard', async (t) => {
  const others = [
    'null',
    '*',
    'https://evil.example',
    'https://app.example.com.evil.example',
    'https://evil-app.example.com',
    'https://app.example.com:8443',
    'http://app.example.com',
    'https://APP.example.com',
    'https://app.example.com/',
    'https://app.example.com, https://evil.example',
    '',
  ]
  for (const from of others) {
    t.strictSame(corsOf(await preflight(open, from)), {}, `preflight of ${from}`)
    t.strictSame(corsOf(await open.call('GET', '/health', { headers: { origin: from } })), {}, from)
    t.match((await open.call('GET', '/health', { headers: { origin: from } })).headers.vary, /origin/i)
  }
  t.equal((await preflight(open, 'https://evil.example')).status, 404)
})

t.test('without CORS_ORIGINS there is none, and no Vary', async (t) => {
  for (const from of [origin, 'http://localhost:4000']) {
    t.strictSame(corsOf(await preflight(plain, from)), {})
    const answer = await plain.call('GET', '/health', { headers: { origin: from } })
    t.strictSame(corsOf(answer), {})
    t.equal(answer.headers.vary, undefined)
  }
})

t.test('OpenAPI says how to prove oneself: by token, or by cookie with the CSRF token', async (t) => {
  const { body } = await open.call('GET', '/docs/json')
  const { components, paths } = body as unknown as {
    components: { securitySchemes: Record<string, object> }
    paths: Record<string, Record<string, { security?: object[] }>>
  }
  t.match(components.securitySchemes, {
    bearer: { type: 'http', scheme: 'bearer' },
    cookie: { type: 'apiKey', in: 'cookie', name: '__Host-freehold-access' },
    csrf: { type: 'apiKey', in: 'header', name: 'x-csrf-token' },
  })
  t.strictSame(paths['/api/projects']?.get?.security, [{ bearer: [] }, { cookie: [] }])
  t.strictSame(paths['/api/projects']?.post?.security, [{ bearer: [] }, { cookie: [], csrf: [] }])
  t.equal(paths['/auth/login']?.post?.security, undefined)
  t.match(JSON.stringify(paths['/auth/login']), /x-auth-mode/)
})
