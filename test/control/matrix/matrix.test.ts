import { readFile } from 'node:fs/promises'
import t from 'tap'
import { type Member, makePlatformAdmin, type SignedIn, startFreehold } from '../../helpers/freehold.ts'
import { apart } from './apart.ts'
import { type Caller, callers, expected, mayOf, page, statusOf } from './expectations.ts'
import { rows } from './rows.ts'
import { openWorld } from './world.ts'

const freehold = await startFreehold(t)
const { call, routes, service, signUp, newTenant, join } = freehold
const { db } = service.master
const { nowhere, objectsOf, request } = openWorld(freehold)

const admin = await newTenant()
const other = await newTenant()
const suspended = await newTenant()
await db.updateTable('tenants').set({ status: 'suspended' }).where('id', '=', suspended.tenantId).execute()
const operator = await signUp()
await makePlatformAdmin(service, operator.personId)
const robot = await call('POST', '/api/system-users', {
  token: admin.token,
  body: { name: 'Robot', role: 'Viewer', serviceType: 'test' },
})
service.grants.forgetAll()

const people: Partial<Record<Caller, SignedIn>> = {
  'no tenant': await signUp(),
  Basic: await join(admin, 'Basic'),
  Viewer: await join(admin, 'Viewer'),
  Writer: await join(admin, 'Writer'),
  Admin: admin,
  'other Admin': other,
  'platform admin': operator,
  'suspended Admin': suspended,
}
/** A new session, in no tenant that the person would have to choose. */
const signIn = async (caller: Caller): Promise<string | undefined> => {
  const person = people[caller]
  if (person !== undefined) {
    const { email, password } = person
    return String((await call('POST', '/auth/login', { body: { email, password } })).body.accessToken)
  }
  if (caller === 'nobody') return undefined
  const { clientId: client_id, clientSecret: client_secret } = robot.body
  const answer = await call('POST', '/auth/token', {
    body: { grant_type: 'client_credentials', client_id, client_secret },
  })
  return String(answer.body.access_token)
}
const tokens = new Map<Caller, string | undefined>()
for (const caller of callers) tokens.set(caller, people[caller]?.token ?? (await signIn(caller)))

const keyOf = ({ method, path }: { method: string; path: string }): string => `${method} ${path}`

t.test('every route has a row, every row a route, and each names the rule that the route has', async (t) => {
  const rules = Object.fromEntries(routes.map((route) => [keyOf(route), mayOf(route.access)]))
  t.strictSame(rules, Object.fromEntries(rows.map(({ route, may }) => [route, may])))
  t.equal(new Set(rows.map(({ route }) => route)).size, rows.length, 'one row a route')
})

t.test('who is let in reaches the handler, which refuses nobody for who they are', async (t) => {
  for (const { route, may, outcome } of rows) {
    if (may !== 'public') t.notOk([401, 403, 500].includes(statusOf(outcome)), route)
  }
})

t.test('every caller gets from every route what the table says', async (t) => {
  const objects = objectsOf(admin)
  const lastOnes = rows.filter(({ ends }) => ends)
  for (const row of [...rows.filter(({ ends }) => !ends), ...lastOnes]) {
    for (const caller of callers) {
      const path = typeof row.outcome === 'number' ? objects : nowhere
      const { method, url, body } = await request(row, { objects, path, slug: admin.slug })
      const token = row.ends ? await signIn(caller) : tokens.get(caller)
      const answer = await call(method, url, { token, body })
      const wanted = expected(row, caller)
      const got = answer.status < 400 ? answer.status : answer.body.code
      t.equal(got, wanted, `${row.route} by ${caller}: ${answer.text.slice(0, 200)}`)
      t.equal(answer.status, statusOf(wanted))
    }
  }
})

t.test('docs/routes.md is this table; npm run routes writes it', async (t) => {
  const written = await readFile(new URL('../../../docs/routes.md', import.meta.url), 'utf8')
  t.equal(written, page(rows))
})

const tenants: Member[] = [await newTenant(), await newTenant(), await newTenant()]
apart(t, freehold, tenants)
