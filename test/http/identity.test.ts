import { request } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { createAuthenticate } from '../../src/http/identity.ts'
import { createServer } from '../../src/http/server.ts'
import type { Clock } from '../../src/kernel/clock.ts'
import { newId } from '../../src/kernel/ids.ts'
import { createLogger } from '../../src/kernel/log.ts'
import { startFreehold } from '../helpers/freehold.ts'

const { app, service, signUp } = await startFreehold(t)
await app.listen({ host: '127.0.0.1', port: 0 })
const { port } = app.server.address() as AddressInfo

t.test('two Authorization headers are refused, whichever of them is good', async (t) => {
  const { token } = await signUp()
  const statusWith = (authorization: string[]): Promise<number | undefined> =>
    new Promise((resolve, reject) => {
      const headers = authorization.flatMap((value) => ['authorization', `Bearer ${value}`])
      const sent = request({
        port,
        host: '127.0.0.1',
        path: '/auth/context',
        headers: ['host', 'localhost', ...headers],
      })
      sent.on('response', (answer) => {
        answer.resume()
        resolve(answer.statusCode)
      })
      sent.on('error', reject)
      sent.end()
    })
  t.equal(await statusWith([token]), 200)
  for (const pair of [
    [token, token],
    [token, 'other'],
    ['other', token],
  ])
    t.equal(await statusWith(pair), 401)
})

t.test('a remembered session is not believed after its end', async (t) => {
  const { personId } = await signUp()
  const session = await service.master.db
    .selectFrom('sessions')
    .select(['id', 'expires_at'])
    .where('person_id', '=', personId)
    .executeTakeFirstOrThrow()
  const claims = { sub: personId, sid: session.id, kind: 'user', jti: newId(), iat: 0, exp: 0 } as const
  const tokens = { issue: () => '', verify: () => claims }
  let now = session.expires_at.getTime() - 1
  const clock: Clock = { now: () => new Date(now) }
  const authenticate = createAuthenticate(tokens, service.grants, clock)
  const server = createServer(createLogger('silent'))
  server.get('/', async (request) => authenticate(request))
  const ask = () => server.inject({ url: '/', headers: { authorization: 'Bearer x' } })
  t.match((await ask()).json(), { personId })
  t.ok(service.grants.peekSession(session.id), 'remembered')
  now += 1
  t.match((await ask()).json(), { code: 'unauthenticated' })
})

t.test('a session is looked up only when what was expected lets it', async (t) => {
  const { personId } = await signUp()
  const tenantId = newId()
  const { id } = await service.master.db
    .selectFrom('sessions')
    .select('id')
    .where('person_id', '=', personId)
    .executeTakeFirstOrThrow()
  const claims = {
    sub: personId,
    sid: id,
    tid: tenantId,
    kind: 'user',
    jti: newId(),
    iat: 0,
    exp: 0,
  } as const
  const events: string[] = []
  const look: typeof service.grants.session = async (sessionId) => {
    events.push('looked up')
    return service.grants.session(sessionId)
  }
  const grants = { peekSession: () => undefined, session: look } as unknown as typeof service.grants
  const tokens = { issue: () => '', verify: () => claims }
  const authenticate = createAuthenticate(tokens, grants, { now: () => new Date() })
  const expect = async (...expected: string[]): Promise<void> => {
    t.strictSame(expected, [tenantId, personId])
    await new Promise(setImmediate)
    events.push('let')
  }
  const server = createServer(createLogger('silent'))
  server.get('/', async (request) => authenticate(request, expect))
  const answer = await server.inject({ url: '/', headers: { authorization: 'Bearer x' } })
  t.match(answer.json(), { personId, tenantId })
  t.strictSame(events, ['let', 'looked up'])
})
