import t from 'tap'
import { makePlatformAdmin, startFreehold } from '../helpers/freehold.ts'
import { describe, type OpenApi, patternsOf, sample, textsOf, withValue } from './every-body.ts'

const { call, newTenant, signUp, service } = await startFreehold(t)
const { body: document } = await call('GET', '/docs/json')
const routes = describe(document as unknown as OpenApi)
const withBody = routes.filter(({ body }) => body !== undefined)

/** Somebody who may do everything, in a tenant. */
const admin = await newTenant()
await makePlatformAdmin(service, admin.personId)
const { token } = admin

const post = (method: string, url: string, body: unknown) =>
  call(method, url, {
    token,
    headers: { 'content-type': 'application/json' },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  })
const stillSignedIn = async () => (await call('GET', '/auth/context', { token })).status === 200

t.test(
  'zero bytes, half characters and control characters in any text of any body: never a fault of ours',
  async (t) => {
    t.ok(withBody.length > 10)
    const poisons = [
      '\u0000',
      'a\u0000b@example.com',
      '\ud800',
      'long enough \udfff',
      '\u001b[2J\r\nBcc: x',
      'x'.repeat(20_000),
    ]
    for (const { method, url, body = {} } of withBody) {
      for (const path of textsOf(body)) {
        for (const poison of poisons) {
          const { status, text } = await post(method, url, withValue(sample(body), path, poison))
          t.ok(
            status < 500,
            `${method} ${url} ${path.join('.')} ${JSON.stringify(poison.slice(0, 20))}: ${status} ${text.slice(0, 200)}`,
          )
        }
      }
    }
    t.ok(await stillSignedIn())
  },
)

t.test('the same in any path and any query', async (t) => {
  const poisons = [
    '%00',
    '%ed%a0%80',
    '%0d%0aSet-Cookie:a=b',
    "'%20or%20'1'='1",
    '../../etc/passwd',
    '%252e%252e',
    'x'.repeat(3_000),
    '%F0%9F%92%A9',
  ]
  for (const { method, path, query } of routes) {
    if (path.startsWith('/docs')) continue
    for (const poison of poisons) {
      const urls = [
        path.replace(/\{\w+\}/g, poison),
        ...query.map((name) => `${path.replace(/\{\w+\}/g, 'x')}?${name}=${poison}`),
      ]
      for (const url of urls) {
        if (url === path) continue
        const { status, headers, text } = await call(method, url, { token })
        t.ok(status < 500, `${method} ${url.slice(0, 80)}: ${status} ${text.slice(0, 200)}`)
        t.equal(headers['set-cookie'], undefined)
      }
    }
  }
  t.ok(await stillSignedIn())
})

t.test(
  'a key said twice counts once, and __proto__, constructor and what nobody asked for are refused, in any body',
  async (t) => {
    for (const { method, url, body = {} } of withBody) {
      const whole = JSON.stringify(sample(body))
      const extra = [
        'userId',
        'personId',
        'tenantId',
        'role',
        'status',
        'id',
        'createdAt',
        'platformAdmin',
        'emailVerified',
        'kind',
        'isAdmin',
        '$where',
        'toString',
      ]
      for (const name of extra.filter((one) => body.properties?.[one] === undefined)) {
        const { status } = await post(method, url, whole.replace('{', `{${JSON.stringify(name)}:"x",`))
        t.equal(status, 400, `${method} ${url} ${name}`)
      }
      for (const nasty of [
        '"__proto__":{"platformAdmin":true}',
        '"\\u005f_proto__":{}',
        '"constructor":{"prototype":{"x":1}}',
      ]) {
        const { status } = await post(method, url, whole.replace('{', `{${nasty},`))
        t.equal(status, 400, `${method} ${url} ${nasty}`)
      }
    }
    t.equal(({} as Record<string, unknown>).platformAdmin, undefined)
  },
)

t.test('bodies made to be dear are refused quickly, by every route', async (t) => {
  const deep = 50_000
  const bombs = {
    'arrays in arrays': '['.repeat(deep) + ']'.repeat(deep),
    'objects in objects': `${'{"a":'.repeat(deep)}1${'}'.repeat(deep)}`,
    'a deep value': `{"email":${'['.repeat(deep)}${']'.repeat(deep)}}`,
    'thousands of keys': `{${Array.from({ length: 20_000 }, (_, n) => `"k${n}":1`).join(',')}}`,
    'one key thousands of times': `{${'"email":"a",'.repeat(20_000)}"email":"a"}`,
    'a long number': `{"limit":1${'0'.repeat(100_000)}}`,
    'a large exponent': '{"limit":1e400000000}',
    'a body of escapes': `{"email":"${'\\u0041'.repeat(30_000)}"}`,
  }
  for (const { method, url } of withBody) {
    for (const [name, bomb] of Object.entries(bombs)) {
      const { status } = await post(method, url, bomb)
      t.ok(status >= 400 && status < 500, `${method} ${url} ${name}: ${status}`)
    }
  }
})

// A pattern that goes back over what it has read would need minutes; the file's time limit ends it.
t.test('every pattern of every route decides a long text in one pass', async (t) => {
  const patterns = [...new Set(patternsOf(document))]
  t.ok(patterns.length > 3)
  for (const pattern of patterns) {
    const check = new RegExp(pattern, 'u')
    for (const unit of ['a', 'a-', ' ', '\u00a0 ', '@', 'a@', '.', 'a.', '0', '-', ':', '*', 'a:']) {
      for (const end of ['', '\u0000', '\n', '!@']) check.test(unit.repeat(100_000) + end)
    }
  }
})

t.test('what lists are sorted and filtered by is never taken from a caller as SQL', async (t) => {
  const lists = routes.filter(({ method, query }) => method === 'GET' && query.includes('cursor'))
  t.ok(lists.length > 2)
  const keys = [
    'sort',
    'order',
    'orderBy',
    'sort[id]',
    'filter',
    'filter[name]',
    'where',
    'fields',
    'q->>a',
    "name'",
    '$ne',
    '__proto__[x]',
    'id;drop table people',
  ]
  for (const { url } of lists) {
    // Who reads the audit log is in it, but not before our time.
    const fixed = url === '/api/audit' ? 'to=2020-01-01T00:00:00Z&' : ''
    const plain = await call('GET', `${url}?${fixed}`, { token })
    for (const key of keys) {
      for (const value of ['id;select pg_sleep(9)', "') or 1=1--", '$.a[*] ? (@ == 1)', '-created_at']) {
        const answer = await call(
          'GET',
          `${url}?${fixed}${encodeURIComponent(key)}=${encodeURIComponent(value)}`,
          {
            token,
          },
        )
        t.ok(
          answer.status === 400 ||
            answer.text === plain.text ||
            (answer.status === plain.status && plain.status >= 400),
          `${url} ${key}=${value}: ${answer.status}`,
        )
      }
    }
    for (const cursor of [
      'x',
      "' or 1=1",
      Buffer.from("v1:' or 1=1").toString('base64url'),
      Buffer.from(`v2:${admin.personId}`).toString('base64url'),
    ]) {
      const { status } = await call('GET', `${url}?cursor=${encodeURIComponent(cursor)}`, { token })
      t.ok([400, 403, 404].includes(status), `${url} cursor ${cursor}: ${status}`)
    }
  }
})

t.test('no answer sends a browser to an address that the caller has chosen', async (t) => {
  const names = [
    'next',
    'redirect',
    'redirect_uri',
    'redirect_url',
    'return',
    'returnTo',
    'return_to',
    'url',
    'continue',
    'target',
    'dest',
  ]
  const targets = [
    'https://evil.example',
    '//evil.example',
    '/\\evil.example',
    'javascript:alert(1)',
    'https:evil.example',
  ]
  const { token: mine } = await signUp()
  for (const { method, url } of routes.filter(({ method }) => method === 'GET')) {
    for (const target of targets) {
      const query = names.map((name) => `${name}=${encodeURIComponent(target)}`).join('&')
      const headers = {
        host: 'evil.example',
        'x-forwarded-host': 'evil.example',
        accept: 'text/html',
        referer: target,
      }
      const answer = await call(method, `${url}?${query}`, { token: mine, headers })
      t.notMatch(String(answer.headers.location ?? ''), 'evil', `${url} ${target}`)
      t.notMatch(String(answer.headers.location ?? ''), /^(\/\/|\/\\|javascript)/, `${url} ${target}`)
    }
  }
})
