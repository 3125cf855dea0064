import type { AddressInfo } from 'node:net'
import { connect } from 'node:net'
import { sql } from 'kysely'
import t from 'tap'
import { tidyAccess } from '../../src/access/tidy.ts'
import { invitationsToOne } from '../../src/control/limits.ts'
import {
  type Answer,
  addMember,
  type Call,
  type Member,
  makePlatformAdmin,
  startNode,
} from '../helpers/freehold.ts'
import { startTestPostgres } from '../helpers/postgres.ts'

const postgres = await startTestPostgres(t)
const here = await startNode(t, postgres)
const there = await startNode(t, postgres)
const { db } = here.service.master
await here.app.listen({ host: '127.0.0.1', port: 0 })
const { port } = here.app.server.address() as AddressInfo

const admin = await here.newTenant()
// On the platform's creating route too.
await makePlatformAdmin(here.service, admin.personId)
const stranger = await here.newTenant()
await here.service.manager.refillSpares()

let counter = 0
const unique = (): string => {
  counter += 1
  return `thing-${counter}-${process.pid}`
}

type Creation = { url: string; body: Record<string, unknown>; other: Record<string, unknown> }

/** Each creating route with a body that is good once, and another good body. */
const routes: Record<string, () => Promise<Creation>> = {
  '/tenants': async () => ({
    url: '/tenants',
    body: { name: 'Once', slug: unique() },
    other: { name: 'Once', slug: unique() },
  }),
  '/platform/tenants': async () => ({
    url: '/platform/tenants',
    body: { name: 'Managed', slug: unique(), adminEmail: `${unique()}@example.com` },
    other: { name: 'Managed', slug: unique(), adminEmail: `${unique()}@example.com` },
  }),
  '/api/members': async () => ({
    url: '/api/members',
    body: { email: (await here.signUp()).email, role: 'Basic' },
    other: { email: (await here.signUp()).email, role: 'Basic' },
  }),
  '/api/invitations': async () => ({
    url: '/api/invitations',
    body: { email: `${unique()}@example.com`, role: 'Basic' },
    other: { email: `${unique()}@example.com`, role: 'Basic' },
  }),
  '/api/projects': async () => ({
    url: '/api/projects',
    body: { name: unique(), description: null },
    other: { name: unique() },
  }),
}

const post = (
  url: string,
  body: unknown,
  key: string | undefined,
  { at = here, token = admin.token }: { at?: typeof here; token?: string } = {},
): Promise<Answer> => {
  const call: Call = { token, body, ...(key === undefined ? {} : { headers: { 'idempotency-key': key } }) }
  return at.call('POST', url, call)
}

const replayed = (answer: Answer): boolean => answer.headers['idempotency-replayed'] === 'true'
const kept = ({ status, text, headers }: Answer) => ({ status, text, location: headers.location })

const tenantCount = async (tenant: Member, table: string): Promise<number> =>
  Number((await here.asSuperuser(tenant.tenantId, `select count(*)::int as n from ${table}`))[0]?.n)

type Counts = Record<'tenants' | 'memberships' | 'invitations' | 'audit' | 'mails' | 'keys', number>

/** How many of everything that these routes create, and of the keys that are remembered. */
const counts = async () => {
  const { rows } = await sql<Counts>`
    select (select count(*) from tenants)::int as tenants, (select count(*) from memberships)::int as memberships,
           (select count(*) from invitations)::int as invitations, (select count(*) from audit_log)::int as audit,
           (select count(*) from sealed_payloads)::int as mails, (select count(*) from idempotency_keys)::int as keys`.execute(
    db,
  )
  return {
    ...(rows[0] as Counts),
    projects: await tenantCount(admin, 'projects'),
    tenantAudit: await tenantCount(admin, 'audit_log'),
    tenantKeys: await tenantCount(admin, 'idempotency_keys'),
  }
}

for (const [name, creation] of Object.entries(routes)) {
  t.test(`POST ${name}: the same key and body give the same answer, another body is refused`, async (t) => {
    const { url, body, other } = await creation()
    const key = unique()
    const first = await post(url, body, key)
    t.ok([201, 202].includes(first.status), first.text)
    t.notOk(replayed(first))
    const before = await counts()
    for (const at of [here, there]) {
      const again = await post(url, Object.fromEntries(Object.entries(body).reverse()), key, { at })
      t.strictSame(kept(again), kept(first))
      t.ok(replayed(again))
      t.match(await post(url, other, key, { at }), { status: 409, body: { code: 'idempotency_mismatch' } })
    }
    t.strictSame(await counts(), before, 'and nothing was created')
  })

  t.test(`POST ${name}: 32 at once over two nodes create once`, async (t) => {
    const { url, body } = await creation()
    const before = await counts()
    const key = unique()
    const all = await Promise.all(
      Array.from({ length: 32 }, (_, n) => post(url, body, key, { at: n % 2 === 0 ? here : there })),
    )
    const after = await counts()
    t.equal(new Set(all.map((answer) => JSON.stringify(kept(answer)))).size, 1, String(all[0]?.text))
    t.ok([201, 202].includes(all[0]?.status ?? 0), String(all[0]?.text))
    t.equal(all.filter((answer) => !replayed(answer)).length, 1)
    const table = name.slice(name.lastIndexOf('/') + 1).replace('members', 'memberships')
    const created = (found: typeof before) =>
      found[table as 'tenants' | 'memberships' | 'invitations' | 'projects']
    t.equal(created(after), created(before) + 1)
    // With the invitation to its first Admin.
    const entries = name === '/platform/tenants' ? 2 : 1
    t.equal(after.audit + after.tenantAudit, before.audit + before.tenantAudit + entries)
    t.equal(after.keys + after.tenantKeys, before.keys + before.tenantKeys + 1)
  })

  t.test(
    `POST ${name}: a request that failed leaves its key free, and without a key nothing is kept`,
    async (t) => {
      const { url, body, other } = await creation()
      const bare = await post(url, body, undefined)
      t.ok([201, 202].includes(bare.status), bare.text)
      const key = unique()
      const before = await counts()
      const bad = name === '/api/projects' ? { name: 'x', workspaceId: crypto.randomUUID() } : body
      const failed = await post(url, bad, key)
      t.ok(failed.status >= 400 && failed.status < 500, failed.text)
      t.strictSame(await counts(), before, 'it left nothing behind')
      const good = await post(url, other, key)
      t.ok([201, 202].includes(good.status), good.text)
      t.notOk(replayed(good))
    },
  )

  t.test(`POST ${name}: after 24 hours a key is forgotten`, async (t) => {
    const { url, body, other } = await creation()
    const key = unique()
    await post(url, body, key)
    const age = async (hours: number): Promise<void> => {
      const text = `update idempotency_keys set expires_at = expires_at - interval '${hours} h'`
      await (name === '/api/projects' ? here.asSuperuser(admin.tenantId, text) : sql.raw(text).execute(db))
    }
    await age(23)
    t.ok(replayed(await post(url, body, key)), 'an hour before')
    await age(1)
    const fresh = await post(url, other, key)
    t.ok([201, 202].includes(fresh.status), fresh.text)
    t.notOk(replayed(fresh))
    t.ok(replayed(await post(url, other, key)), 'and the new answer is remembered in its place')
  })
}

t.test('a key is its own for each person, tenant and route', async (t) => {
  const key = unique()
  const body = { name: 'Same' }
  const project = await post('/api/projects', body, key)
  const writer = await here.join(admin, 'Admin')
  for (const { token } of [writer, stranger]) {
    const answer = await post('/api/projects', body, key, { token })
    t.equal(answer.status, 201)
    t.notOk(replayed(answer))
    t.not(answer.body.id, project.body.id)
  }
  const tenants = await Promise.all(
    [admin, stranger].map(({ token }) => post('/tenants', { name: 'Same' }, key, { token })),
  )
  t.notSame(tenants[0]?.body.id, tenants[1]?.body.id)
  const email = `${unique()}@example.com`
  const invited = await post('/api/invitations', { email, role: 'Basic' }, key)
  const elsewhere = await post('/api/invitations', { email, role: 'Basic' }, key, { token: stranger.token })
  t.strictSame([invited.status, elsewhere.status], [201, 201])
  t.not(invited.body.id, elsewhere.body.id)
})

t.test('whoever may not create any more is not told again', async (t) => {
  const writer = await here.join(admin, 'Admin')
  const key = unique()
  const body = { name: 'Mine' }
  t.equal((await post('/api/projects', body, key, { token: writer.token })).status, 201)
  const url = `/api/members/${writer.personId}`
  t.equal((await here.call('PATCH', url, { token: admin.token, body: { role: 'Basic' } })).status, 200)
  t.match(await post('/api/projects', body, key, { token: writer.token }), { status: 403 })
})

t.test('a key is good for one route', async (t) => {
  const [key, body] = [unique(), { name: unique() }]
  for (const url of ['/api/projects', '/api/workspaces']) {
    const answer = await post(url, body, key)
    t.equal(answer.status, 201, url)
    t.notOk(replayed(answer))
  }
})

t.test('a key is good for one tenant', async (t) => {
  await addMember(here.service, stranger.tenantId, admin.personId, 'Admin')
  const { body: inside } = await here.call('POST', '/auth/switch', {
    token: admin.token,
    body: { tenant: stranger.tenantId },
  })
  const [key, body] = [unique(), { email: `${unique()}@example.com`, role: 'Basic' }]
  for (const token of [admin.token, String(inside.accessToken)]) {
    const answer = await post('/api/invitations', body, key, { token })
    t.equal(answer.status, 201, answer.text)
    t.notOk(replayed(answer))
  }
})

t.test('an answer that is given again takes nothing of a limit', async (t) => {
  const limited = await startNode(t, postgres, { RATE_LIMITS: 'on' })
  const body = { email: `${unique()}@example.com`, role: 'Basic' }
  const key = unique()
  t.equal((await post('/api/invitations', body, key, { at: limited })).status, 201)
  for (let again = 0; again < invitationsToOne.burst; again++) {
    t.ok(replayed(await post('/api/invitations', body, key, { at: limited })))
  }
})

t.test('a key is 1 to 255 visible characters, and there is one', async (t) => {
  const { url, body } = { url: '/api/projects', body: { name: 'Never' } }
  const before = await counts()
  for (const key of ['', 'a b', 'ä', 'x'.repeat(256), 'tab\t']) {
    t.match(await post(url, body, `${key}`), { status: 400, body: { code: 'validation_failed' } }, key)
  }
  const twice = await new Promise<string>((resolve, reject) => {
    const text = JSON.stringify(body)
    const head = `POST ${url} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer ${admin.token}\r\n`
    const keys = 'idempotency-key: a\r\nIdempotency-Key: b\r\n'
    const rest = `content-type: application/json\r\ncontent-length: ${text.length}\r\n\r\n${text}`
    const socket = connect(port, '127.0.0.1', () => socket.write(head + keys + rest))
    let answer = ''
    socket.on('data', (data) => {
      answer += data
    })
    socket.on('close', () => resolve(answer))
    socket.on('error', reject)
  })
  t.match(twice, /^HTTP\/1\.1 400 /)
  t.match(twice, 'validation_failed')
  t.strictSame(await counts(), before)
  t.equal((await post(url, body, 'x'.repeat(255))).status, 201)
})

t.test('an answer in the master is sealed, and old ones are cleared away', async (t) => {
  const email = `${unique()}@example.com`
  await post('/api/invitations', { email, role: 'Basic' }, unique())
  const row = await db
    .selectFrom('idempotency_keys')
    .select('answer')
    .orderBy('id', 'desc')
    .executeTakeFirstOrThrow()
  t.notOk(row.answer?.includes(email))
  await sql`update idempotency_keys set expires_at = now() - interval '1 s'`.execute(db)
  await tidyAccess(db)
  t.equal((await counts()).keys, 0)
  await here.asSuperuser(admin.tenantId, `update idempotency_keys set expires_at = now() - interval '1 s'`)
  await post('/api/projects', { name: 'Last' }, unique())
  t.equal(await tenantCount(admin, 'idempotency_keys'), 1, 'a new key clears away old ones in a tenant')
})
