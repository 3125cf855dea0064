import type { AddressInfo } from 'node:net'
import { connect } from 'node:net'
import t from 'tap'
import { makePlatformAdmin, startFreehold } from '../helpers/freehold.ts'

const { app, call, routes, newTenant, service } = await startFreehold(t)
await app.listen({ host: '127.0.0.1', port: 0 })
const { port } = app.server.address() as AddressInfo

/** Sends bytes as they are and answers everything that comes back. */
const raw = (text: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(text))
    let answer = ''
    socket.on('data', (data) => {
      answer += data
    })
    socket.on('close', () => resolve(answer))
    socket.on('error', reject)
  })

const get = (path: string, headers = ''): Promise<string> =>
  raw(`GET ${path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n${headers}\r\n`)

t.test('content types that are not ours are refused on every route with a body', async (t) => {
  const { token, personId } = await newTenant()
  await makePlatformAdmin(service, personId)
  const types = [
    'text/plain',
    'text/plain; charset=utf-8',
    'text/html',
    'text/json',
    'text/javascript',
    'text/xml',
    'text/x-json',
    'application/xml',
    'application/x-www-form-urlencoded',
    'application/x-www-form-urlencoded; charset=utf-8',
    'multipart/form-data; boundary=x',
    'multipart/mixed; boundary=x',
    'application/octet-stream',
    'application/javascript',
    'application/jsonp',
    'application/jsonx',
    'application/json5',
    'application/x-json',
    'application/x-ndjson',
    'application/problem+json',
    'application/ld+json',
    'application/vnd.api+json',
    'application/merge-patch+json',
    'application/cbor',
    'application/graphql',
    'application/json, text/plain',
    'text/plain, application/json',
    'application/json; charset=utf-7',
    'application/json; charset=utf-7, text/html',
    'application/json; charset=utf-16',
    'application/json; charset=iso-8859-1',
    'application/json; charset=utf-8; charset=utf-7',
    'application/json; boundary=x',
    'application/json charset=utf-8',
    'application/ json',
    'application /json',
    'application/json/',
    'application',
    '/json',
    'json',
    '*/*',
    'application/*',
    ' ',
    ';',
    '"application/json"',
  ]
  t.ok(types.length >= 40)
  const bodies = routes.filter(
    ({ method, path }) => ['POST', 'PATCH', 'PUT'].includes(method) && path !== '/auth/logout',
  )
  t.ok(bodies.length > 5)
  for (const { method, path } of bodies) {
    for (const type of types) {
      // The one route that also takes a form (RFC 6749).
      if (path === '/auth/token' && type.startsWith('application/x-www-form-urlencoded')) continue
      const url = path.replace(/:\w+/g, '018f0000-0000-7000-8000-000000000000')
      const { status } = await call(method, url, {
        token,
        headers: { 'content-type': type },
        body: '{"name":"x"}',
      })
      t.equal(status, 415, `${method} ${path} ${type}`)
    }
  }
})

t.test('a body over the limit is refused', async (t) => {
  const { token } = await newTenant()
  const { body } = await call('POST', '/api/projects', {
    token,
    body: { name: 'x', description: 'x'.repeat(2_000_000) },
  })
  t.match(body, { status: 413, code: 'payload_too_large' })
})

t.test('what is no JSON is refused with a reason, and shows nothing of ours', async (t) => {
  const { token } = await newTenant()
  for (const text of [
    '',
    '{',
    '{"name":}',
    'null',
    '"x"',
    `${'['.repeat(50_000)}`,
    '{"name":"a","name":"b"}x',
  ]) {
    const answer = await call('POST', '/api/projects', {
      token,
      headers: { 'content-type': 'application/json' },
      body: text,
    })
    t.match(answer.body, { status: 400, code: 'validation_failed' }, text.slice(0, 20))
    t.notMatch(answer.text, /at .*\.ts|SyntaxError|node_modules/)
  }
})

t.test('other spellings of a guarded path never reach its handler', async (t) => {
  for (const path of [
    '//api/projects',
    '/api//projects',
    '/API/projects',
    '/api/projects/',
    '/api/./projects',
    '/x/../api/projects',
    '/api%2fprojects',
    '/%61pi/projects',
    '/api/%2e%2e/api/projects',
    '/api;x=1/projects',
    'http://localhost/api/projects',
  ]) {
    const answer = await get(path)
    t.match(answer, /^HTTP\/1\.1 (400|401|404) /, path)
  }
})

t.test('an id in another spelling is refused like any other text', async (t) => {
  const { token } = await newTenant()
  const id = 'urn:uuid:018f0000-0000-7000-8000-000000000000'
  for (const [method, body] of [
    ['GET', undefined],
    ['PATCH', { name: 'x' }],
    ['DELETE', undefined],
  ] as const) {
    const answer = await call(method, `/api/projects/${id}`, { token, body })
    t.match(answer.body, { status: 400, code: 'validation_failed' }, method)
  }
  const answer = await call('POST', '/api/projects', { token, body: { name: 'x', workspaceId: id } })
  t.match(answer.body, { status: 400, code: 'validation_failed' })
})

t.test('a body that is no UTF-8 is refused, not mended', async (t) => {
  const { token } = await newTenant()
  const body = Buffer.concat([Buffer.from('{"name":"'), Buffer.from([0xff]), Buffer.from('"}')])
  const headers = { 'content-type': 'application/json' }
  const answer = await call('POST', '/api/projects', { token, headers, body })
  t.match(answer.body, { status: 400, code: 'validation_failed', detail: /UTF-8/ })
})

t.test('a type without a body is no body', async (t) => {
  const { token } = await newTenant()
  const headers = { 'content-type': 'application/json' }
  const id = '018f0000-0000-7000-8000-000000000000'
  t.match((await call('DELETE', `/api/projects/${id}`, { token, headers })).body, { code: 'not_found' })
  t.match((await call('POST', '/api/projects', { token, headers, body: '' })).body, { status: 400 })
  t.equal((await call('POST', '/auth/logout', { token, headers, body: '' })).status, 204)
})

t.test('what is refused before any route is refused like everything else', async (t) => {
  const { token } = await newTenant()
  for (const path of ['/%zz', '/api/projects/%ff', `/api/projects/${'a'.repeat(200)}`]) {
    const { headers, body } = await call('GET', path, { token })
    t.match(headers, { 'content-type': /^application\/problem\+json/, 'cache-control': 'no-store' }, path)
    t.match(body, { status: 400, code: 'validation_failed', requestId: headers['x-request-id'] }, path)
  }
})

t.test('what is no HTTP is answered as a problem too', async (t) => {
  const post = 'POST /auth/login HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n'
  for (const [text, code] of [
    ['NONSENSE\r\n\r\n', 'validation_failed'],
    [`${post}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`, 'validation_failed'],
    [`${post}content-length: 5\r\ncontent-length: 6\r\n\r\nabcde`, 'validation_failed'],
    [`GET / HTTP/1.1\r\nhost: a\r\nx: ${'x'.repeat(20_000)}\r\n\r\n`, 'headers_too_large'],
  ] as const) {
    const answer = await raw(text)
    const [head = '', body = ''] = answer.split('\r\n\r\n')
    t.match(head, /content-type: application\/problem\+json/)
    const problem: unknown = JSON.parse(body)
    t.match(problem, { code, requestId: /^\S{36}$/ })
    t.match(head, `x-request-id: ${(problem as { requestId: string }).requestId}`)
  }
})

t.test('a whole request has a time limit, not only its headers', async (t) => {
  // Node takes the longer of the two for the whole request, whichever name it has.
  const { headersTimeout, requestTimeout } = app.server
  t.ok(headersTimeout > 0 && headersTimeout < requestTimeout && requestTimeout <= 15_000)
})

t.test('broken requests get a clean answer', async (t) => {
  t.match(await get('/%zz'), /^HTTP\/1\.1 4\d\d /)
  t.match(
    await get('/auth/context', 'authorization: Bearer a\r\nauthorization: Bearer b\r\n'),
    /"code":"unauthenticated"/,
  )
  t.match(await raw('NONSENSE\r\n\r\n'), /^HTTP\/1\.1 400 /)
  t.match(await raw('GET / HTTP/1.1\r\n\r\n'), /^HTTP\/1\.1 400 /, 'no host')
  t.match(await get('/', `x: ${'x'.repeat(20_000)}\r\n`), /^HTTP\/1\.1 431 /)
})

t.test('x-forwarded headers of a stranger change nothing', async (t) => {
  const answer = await call('POST', '/auth/register', {
    headers: { 'x-forwarded-for': '203.0.113.7', 'x-forwarded-proto': 'https', 'x-request-id': 'mine' },
    body: { email: 'forwarded@example.com', password: 'a long passphrase', firstName: 'F' },
  })
  t.not(answer.headers['x-request-id'], 'mine')
  const context = await call('GET', '/auth/context', { token: String(answer.body.accessToken) })
  t.match(context.body, { session: { address: '127.0.0.1' } })
})

t.test('the list of mistakes is short, however many there are', async (t) => {
  const body = Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`field${i}`, 1]))
  const answer = await call('POST', '/auth/login', { body })
  t.equal((answer.body.errors as unknown as unknown[]).length, 20)
})

t.test('no answer is to be kept or guessed at by a browser', async (t) => {
  for (const path of ['/', '/auth/context', '/nowhere', '/%zz']) {
    const { headers } = await call('GET', path)
    t.match(headers, { 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' }, path)
  }
})

t.test('every answer carries its request id, errors in the body too', async (t) => {
  const answer = await call('GET', '/nowhere')
  t.match(answer.body, {
    type: 'urn:freehold:problem:not_found',
    title: String,
    status: 404,
    detail: String,
    code: 'not_found',
    requestId: answer.headers['x-request-id'],
  })
})
