import { sql } from 'kysely'
import t from 'tap'
import { type Member, type SignedIn, startFreehold } from '../../helpers/freehold.ts'
import { openMailbox } from '../../helpers/mailbox.ts'
import { ownRole } from '../../helpers/own-role.ts'

const mailbox = await openMailbox(t)
const freehold = await startFreehold(t, mailbox.env)
const { call, service, signUp, newTenant, join } = freehold
const { db } = service.master

let counter = 0
const newAddress = (): string => {
  counter += 1
  return `guest-${counter}-${process.pid}@example.com`
}

const invite = (by: Member, email: string, role = 'Viewer') =>
  call('POST', '/api/invitations', { token: by.token, body: { email, role } })
const resend = (by: Member, id: string) => call('POST', `/api/invitations/${id}/resend`, { token: by.token })
const view = (token: string) => call('GET', `/invitations/${token}`)
const answer = (person: SignedIn, token: string, how = 'accept') =>
  call('POST', `/invitations/${token}/${how}`, { token: person.token })
const register = (email: string, invitationToken: string) =>
  call('POST', '/auth/register', {
    body: { email, password: 'a long passphrase', firstName: 'Guest', invitationToken },
  })
const lastToken = async (email: string): Promise<string> =>
  (await mailbox.receive(service, email)).findLast(({ subject }) => subject === 'You are invited')?.token ??
  ''

/** Somebody with an account, whose address is proved unless said otherwise. */
const guest = async (verified = true): Promise<SignedIn> => {
  const person = await signUp()
  if (verified) {
    const now = new Date()
    await db.updateTable('people').set({ email_verified_at: now }).where('id', '=', person.personId).execute()
  }
  return person
}
/** An invitation to somebody with an account, and its token from the mail. */
const invited = async (admin: Member, role = 'Viewer', verified = true) => {
  const person = await guest(verified)
  const { body } = await invite(admin, person.email, role)
  return { person, id: String(body.id), token: await lastToken(person.email) }
}
const memberOf = (tenantId: string, personId: string) =>
  db
    .selectFrom('memberships')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .where('person_id', '=', personId)
    .execute()

t.test(
  'an invitation goes out by mail, shows itself to whoever holds the link, and is accepted once',
  async (t) => {
    const admin = await newTenant()
    const person = await guest()
    const sent = await invite(admin, person.email.toUpperCase())
    t.match(sent, {
      status: 201,
      body: {
        id: String,
        email: person.email,
        role: 'Viewer',
        status: 'open',
        invitedBy: { id: admin.personId },
      },
    })
    t.notMatch(sent.text, /fhi_/, 'the token goes nowhere but into the mail')
    const days = (Date.parse(String(sent.body.expiresAt)) - Date.now()) / 86_400_000
    t.ok(days > 6.99 && days <= 7, 'seven days')
    const [mail] = await mailbox.receive(service, person.email).then((mails) => mails.slice(-1))
    t.match(mail?.link, /^http:\/\/localhost:4000\/auth\/invitation#token=fhi_/)
    t.match(
      [mail?.text, mail?.html],
      [/Test Person invites you to join Tenant/, /Test Person invites you to join Tenant/],
    )
    const token = mail?.token ?? ''
    const seen = await view(token)
    t.match(seen.body, {
      tenant: { name: /^Tenant/, logoUrl: null },
      inviter: { name: 'Test Person' },
      role: 'Viewer',
      email: `p•••@example.com`,
      expiresAt: /Z$/,
    })
    t.notMatch(seen.text, new RegExp(`${person.email}|${admin.tenantId}`))
    t.match((await call('GET', '/invitations', { token: person.token })).body, {
      data: [{ id: sent.body.id, role: 'Viewer', tenant: { name: /^Tenant/ } }],
    })
    t.match(await answer(person, token), {
      status: 200,
      body: { tenant: { id: admin.tenantId, role: 'Viewer' } },
    })
    t.match((await answer(person, token)).body, { code: 'gone' })
    t.match((await view(token)).body, { code: 'gone' })
    t.strictSame((await call('GET', '/invitations', { token: person.token })).body.data, [])
    t.strictSame((await call('GET', '/api/invitations', { token: admin.token })).body.data, [])
    const entered = await call('POST', '/auth/switch', { token: person.token, body: { tenant: admin.slug } })
    t.match(entered, { status: 200, body: { role: 'Viewer' } })
  },
)

t.test('the token itself is nowhere in the master', async (t) => {
  const admin = await newTenant()
  const { token } = await invited(admin)
  t.match(token, /^fhi_[\w-]{43}$/)
  for (const { name } of (
    await service.master.pool.query(
      "select format('%I.%I', schemaname, tablename) as name from pg_tables where schemaname in ('public', 'graphile_worker')",
    )
  ).rows) {
    const { rowCount } = await service.master.pool.query(
      `select from ${name} as r where r::text like '%' || $1 || '%'`,
      [token.slice(4)],
    )
    t.equal(rowCount, 0, name)
  }
})

t.test('an invitation is for the one who has proved the address, and nobody else', async (t) => {
  const admin = await newTenant()
  const { person, token, id } = await invited(admin, 'Viewer', false)
  const [other, unproved] = [await guest(), await guest(false)]
  for (const how of ['accept', 'decline']) {
    t.match((await answer(other, token, how)).body, { status: 403, code: 'forbidden' }, how)
    t.match((await answer(unproved, token, how)).body, { status: 403, code: 'forbidden' }, how)
    t.match((await answer(other, id, how)).body, { status: 404, code: 'not_found' }, 'an id is no secret')
    t.match((await answer(person, token, how)).body, { status: 403, code: 'email_not_verified' }, how)
    t.match((await answer(person, id, how)).body, { status: 403, code: 'email_not_verified' }, how)
    t.match((await call('POST', `/invitations/${token}/${how}`)).body, { status: 401 })
  }
  t.strictSame((await call('GET', '/invitations', { token: person.token })).body.data, [], 'not proved yet')
  await db
    .updateTable('people')
    .set({ email_verified_at: new Date() })
    .where('id', '=', person.personId)
    .execute()
  t.equal((await answer(person, id)).status, 200, 'from the own list, by its id')
})

t.test('64 accepts of one invitation at once make one membership', async (t) => {
  const admin = await newTenant()
  const { person, token } = await invited(admin)
  const answers = await Promise.all(Array.from({ length: 64 }, () => answer(person, token)))
  const codes = answers.map(({ status, body }) => (status === 200 ? 'accepted' : body.code))
  t.equal(codes.filter((code) => code === 'accepted').length, 1)
  t.equal(codes.filter((code) => (code as string) === 'gone').length, 63)
  t.equal((await memberOf(admin.tenantId, person.personId)).length, 1)
  const entries = await db
    .selectFrom('audit_log')
    .select('id')
    .where('action', '=', 'invitation.accepted')
    .where('actor_id', '=', person.personId)
    .execute()
  t.equal(entries.length, 1)
})

t.test('16 sign-ups with one invitation at once make one account and one membership', async (t) => {
  const admin = await newTenant()
  const email = newAddress()
  await invite(admin, email)
  const token = await lastToken(email)
  const answers = await Promise.all(Array.from({ length: 16 }, () => register(email, token)))
  t.equal(answers.filter(({ status }) => status === 201).length, 1)
  const people = await db.selectFrom('people').select('id').where('email', '=', email).execute()
  t.equal(people.length, 1)
  t.equal((await memberOf(admin.tenantId, people[0]?.id ?? '')).length, 1)
})

t.test('accepting, declining, cancelling and resending at once end in one of them', async (t) => {
  const admin = await newTenant()
  for (let round = 0; round < 4; round += 1) {
    const { person, token, id } = await invited(admin)
    const cancel = () => call('DELETE', `/api/invitations/${id}`, { token: admin.token })
    const [accepted, declined, cancelled] = await Promise.all([
      answer(person, token),
      answer(person, token, 'decline'),
      cancel(),
      resend(admin, id),
    ])
    const members = await memberOf(admin.tenantId, person.personId)
    t.equal(members.length, accepted.status === 200 ? 1 : 0)
    const ended = [accepted, declined, cancelled].filter(({ status }) => status < 300).length
    t.ok(ended <= 1, `${ended} ended it`)
  }
})

t.test('a resent invitation has a new link, and the old one says so', async (t) => {
  const admin = await newTenant()
  const { person, token: old, id } = await invited(admin)
  await db
    .updateTable('invitations')
    .set({ expires_at: new Date(Date.now() - 1000) })
    .where('id', '=', id)
    .execute()
  t.match((await view(old)).body, { status: 410, code: 'gone', detail: /expired/ })
  t.match((await answer(person, old)).body, { code: 'gone' })
  t.match((await call('GET', '/api/invitations', { token: admin.token })).body, {
    data: [{ id, status: 'expired' }],
  })
  t.match(await resend(admin, id), { status: 200, body: { id, status: 'open' } })
  const token = await lastToken(person.email)
  t.not(token, old)
  t.match((await view(old)).body, { code: 'gone', detail: /newer mail/ })
  t.match((await answer(person, old)).body, { code: 'gone' })
  t.match((await register(newAddress(), old)).body, { code: 'gone' })
  t.equal((await answer(person, token)).status, 200)
  t.match((await resend(admin, id)).body, { code: 'gone' })
})

t.test('one open invitation per address; who is a member can not be invited', async (t) => {
  const admin = await newTenant()
  const { person, token, id } = await invited(admin)
  t.match((await invite(admin, person.email, 'Writer')).body, {
    status: 409,
    code: 'conflict',
    detail: /resend/,
  })
  const both = newAddress()
  const racers = await Promise.all(Array.from({ length: 8 }, () => invite(admin, both)))
  t.strictSame(racers.map(({ status }) => status).sort(), [201, ...Array(7).fill(409)])
  t.equal((await call('DELETE', `/api/invitations/${id}`, { token: admin.token })).status, 204)
  t.match((await view(token)).body, { code: 'gone' })
  t.equal((await invite(admin, person.email)).status, 201, 'after that one was taken back')
  const again = await lastToken(person.email)
  t.equal(
    (await call('POST', '/api/members', { token: admin.token, body: { email: person.email, role: 'Basic' } }))
      .status,
    201,
  )
  t.match((await answer(person, again)).body, { code: 'gone' }, 'a member needs no invitation')
  t.match((await invite(admin, person.email)).body, { status: 409, code: 'already_member' })
})

t.test('who declines is asked no more, until invited again', async (t) => {
  const admin = await newTenant()
  const { person, token } = await invited(admin)
  t.equal((await answer(person, token, 'decline')).status, 204)
  t.match((await answer(person, token)).body, { code: 'gone' })
  t.strictSame(await memberOf(admin.tenantId, person.personId), [])
  t.equal((await invite(admin, person.email)).status, 201)
})

/** Enough to invite, and too little to give most roles. */
const inviterMay = ['tenant-api:invitation:*', 'tenant-api:tenant:read']

const losses: [how: string, lose: (admin: Member, giver: Member) => Promise<unknown>][] = [
  [
    'demoted',
    (admin, giver) =>
      call('PATCH', `/api/members/${giver.personId}`, { token: admin.token, body: { role: 'Writer' } }),
  ],
  [
    'left with less than the role, and may still invite,',
    async (admin, giver) => {
      const role = await ownRole(service, admin.tenantId, 'Inviter', inviterMay)
      await call('PATCH', `/api/members/${giver.personId}`, { token: admin.token, body: { role } })
    },
  ],
  [
    'made inactive',
    (admin, giver) =>
      call('PATCH', `/api/members/${giver.personId}`, { token: admin.token, body: { status: 'inactive' } }),
  ],
  ['removed', (admin, giver) => call('DELETE', `/api/members/${giver.personId}`, { token: admin.token })],
  [
    'disabled',
    (_, giver) =>
      db.updateTable('people').set({ disabled_at: new Date() }).where('id', '=', giver.personId).execute(),
  ],
  ['deleted', (_, giver) => db.deleteFrom('people').where('id', '=', giver.personId).execute()],
]
for (const [how, lose] of losses) {
  t.test(
    `an invitation whose giver was ${how} meanwhile gives nothing, until another Admin sends it again`,
    async (t) => {
      const admin = await newTenant()
      const giver = await join(admin, 'Admin')
      const { person, token, id } = await invited(giver, 'Admin')
      const stranger = newAddress()
      await invite(giver, stranger, 'Viewer')
      const strangers = await lastToken(stranger)
      await lose(admin, giver)
      const gone = { status: 410, code: 'gone', detail: /may not give/ }
      t.match((await answer(person, token)).body, gone)
      t.match((await view(token)).body, gone)
      t.match((await register(stranger, strangers)).body, gone)
      t.strictSame(await memberOf(admin.tenantId, person.personId), [])
      t.equal((await resend(admin, id)).status, 200)
      t.equal((await answer(person, await lastToken(person.email))).status, 200)
    },
  )
}

t.test('nobody invites to a role that holds more than they do, nor resends one', async (t) => {
  const admin = await newTenant()
  const inviter = await join(admin, 'Basic')
  const role = await ownRole(service, admin.tenantId, 'Inviter', inviterMay)
  await call('PATCH', `/api/members/${inviter.personId}`, { token: admin.token, body: { role } })
  t.match((await invite(inviter, newAddress(), 'Admin')).body, { code: 'forbidden' })
  t.match((await invite(inviter, newAddress(), 'Viewer')).body, { code: 'forbidden' })
  t.equal((await invite(inviter, newAddress(), 'Basic')).status, 201)
  t.equal((await invite(inviter, newAddress(), 'Inviter')).status, 201, 'a role of the tenant’s own')
  const { id } = await invited(admin, 'Admin')
  t.match((await resend(inviter, id)).body, { code: 'forbidden' })
})

t.test('a tenant’s invitations are nobody else’s', async (t) => {
  const [admin, other] = [await newTenant(), await newTenant()]
  const { id, person, token } = await invited(admin)
  t.match((await resend(other, id)).body, { code: 'not_found' })
  t.match((await call('DELETE', `/api/invitations/${id}`, { token: other.token })).body, {
    code: 'not_found',
  })
  t.strictSame((await call('GET', '/api/invitations', { token: other.token })).body.data, [])
  const otherRole = crypto.randomUUID()
  await db.insertInto('roles').values({ id: otherRole, tenant_id: other.tenantId, name: 'Theirs' }).execute()
  for (const role of [otherRole, 'Theirs'])
    t.match((await invite(admin, newAddress(), role)).body, { code: 'not_found' })
  t.equal((await answer(person, token)).status, 200)
  t.strictSame(await memberOf(other.tenantId, person.personId), [])
  const viewer = await join(admin, 'Viewer')
  t.equal((await invite(viewer, newAddress())).status, 403)
  t.equal((await call('DELETE', `/api/invitations/${id}`, { token: viewer.token })).status, 403)
  t.equal((await call('GET', '/api/invitations')).status, 401)
})

t.test('a suspended or deleted tenant can be joined by nobody', async (t) => {
  const admin = await newTenant()
  const { person, token } = await invited(admin)
  for (const [status, code] of [
    ['suspended', 'tenant_suspended'],
    ['deleted', 'gone'],
  ] as const) {
    await db.updateTable('tenants').set({ status }).where('id', '=', admin.tenantId).execute()
    t.match((await answer(person, token)).body, { code }, status)
    t.match((await view(token)).body, { code }, status)
    t.strictSame((await call('GET', '/invitations', { token: person.token })).body.data, [])
    t.match((await register(person.email, token)).body, { code })
  }
  await db.updateTable('tenants').set({ status: 'active' }).where('id', '=', admin.tenantId).execute()
  t.equal((await answer(person, token)).status, 200)
})

t.test('an invitation at sign-up proves the address, makes the member and chooses the tenant', async (t) => {
  const admin = await newTenant()
  const email = newAddress()
  await invite(admin, email, 'Writer')
  const token = await lastToken(email)
  t.match((await register(newAddress(), token)).body, { status: 403, code: 'forbidden' })
  t.match((await register(newAddress(), 'fhi_'.padEnd(47, 'A'))).body, { status: 404, code: 'not_found' })
  const session = await register(email.toUpperCase(), token)
  t.match(session, {
    status: 201,
    body: {
      user: { email, emailVerified: true },
      role: 'Writer',
      tenant: { id: admin.tenantId },
      tenants: [{ id: admin.tenantId }],
    },
  })
  const created = await call('POST', '/api/projects', {
    token: String(session.body.accessToken),
    body: { name: 'P' },
  })
  t.equal(created.status, 201)
  t.match((await register(email, token)).body, { code: 'gone' })
  t.notOk(
    (await mailbox.receive(service, email)).some(({ subject }) => /Confirm/.test(subject)),
    'nothing left to prove',
  )
})

t.test('who has an account already signs in instead, and the invitation is not spent', async (t) => {
  const admin = await newTenant()
  const { person, token } = await invited(admin)
  t.match((await register(person.email, token)).body, { status: 409, code: 'email_taken' })
  t.equal((await answer(person, token)).status, 200)
})

t.test('other spellings of a token, and other secrets, are no invitation', async (t) => {
  const admin = await newTenant()
  const { person, token, id } = await invited(admin)
  for (const text of [
    token.slice(0, -1),
    `${token}A`,
    token.toUpperCase(),
    token.slice(4),
    `fhp_${token.slice(4)}`,
    `${token}%20`,
    id,
    person.refreshToken,
    person.token.slice(0, 99),
  ]) {
    t.match((await view(text)).body, { status: 404, code: 'not_found' }, text)
  }
  const reset = await call('POST', '/auth/password/reset', { body: { token, password: 'another long one' } })
  const verify = await call('POST', '/auth/email/verify', { body: { token } })
  const refresh = await call('POST', '/auth/refresh', { body: { refreshToken: token } })
  t.match([reset.status, verify.status, refresh.status], [410, 410, 401])
  t.equal((await call('GET', '/auth/context', { token })).status, 401)
  t.equal((await answer(person, token)).status, 200)
})

t.test('fields that are nobody’s to send are refused', async (t) => {
  const admin = await newTenant()
  for (const field of [
    'tenantId',
    'userId',
    'status',
    'platformAdmin',
    'id',
    'createdAt',
    'expiresAt',
    'token',
    'invitedBy',
  ]) {
    const body = { email: newAddress(), role: 'Viewer', [field]: crypto.randomUUID() }
    t.equal((await call('POST', '/api/invitations', { token: admin.token, body })).status, 400, field)
  }
  for (const email of [
    'a@example.com\r\nBcc: b@example.com',
    'a,b@example.com',
    '<a@example.com>',
    'a@example.com\u0000',
  ]) {
    t.equal((await invite(admin, email)).status, 400)
  }
  for (const field of ['role', 'tenantId', 'emailVerified', 'platformAdmin']) {
    const body = {
      email: newAddress(),
      password: 'a long passphrase',
      firstName: 'G',
      invitationToken: 'x',
      [field]: 'Admin',
    }
    t.equal((await call('POST', '/auth/register', { body })).status, 400, field)
  }
})

t.test('everything that happens to an invitation is in the audit log', async (t) => {
  const admin = await newTenant()
  const { person, id } = await invited(admin)
  await resend(admin, id)
  await answer(person, await lastToken(person.email))
  const second = await invited(admin)
  await answer(second.person, second.token, 'decline')
  const third = await invited(admin)
  await call('DELETE', `/api/invitations/${third.id}`, { token: admin.token })
  const of = async (id: string) =>
    (
      await db
        .selectFrom('audit_log')
        .select(['action', 'actor_id', 'request_id'])
        .where('entity_id', '=', id)
        .orderBy('id')
        .execute()
    ).map(({ action, actor_id, request_id }) => [action, actor_id, typeof request_id])
  const by = (action: string, who: string) => [`invitation.${action}`, who, 'string']
  t.strictSame(await of(id), [
    by('created', admin.personId),
    by('resent', admin.personId),
    by('accepted', person.personId),
  ])
  t.strictSame(await of(second.id), [by('created', admin.personId), by('declined', second.person.personId)])
  t.strictSame(await of(third.id), [by('created', admin.personId), by('cancelled', admin.personId)])
})

t.test(
  'the page of the link holds no secret, loads nothing from elsewhere, and answers nothing by itself',
  async (t) => {
    const admin = await newTenant()
    const { person, token } = await invited(admin)
    const { status, headers, text } = await call('GET', '/auth/invitation')
    t.equal(status, 200)
    t.match(
      headers['content-security-policy'],
      /^default-src 'none'; script-src 'sha256-[^']+'; style-src 'sha256-/,
    )
    t.match(headers, { 'referrer-policy': 'no-referrer', 'cache-control': 'no-store' })
    t.notMatch(text, /https?:\/\/|innerHTML| on[a-z]+="/)
    t.equal((await answer(person, token)).status, 200)
  },
)

t.test(
  'an invitation that has ended says so for 30 days, with the links that later mails replaced',
  async (t) => {
    const admin = await newTenant()
    const ages = { kept: 29, dropped: 31 }
    const ids: Record<string, string> = {}
    for (const [name, days] of Object.entries(ages)) {
      const { body } = await invite(admin, newAddress())
      ids[name] = String(body.id)
      await resend(admin, String(body.id))
      await call('DELETE', `/api/invitations/${body.id}`, { token: admin.token })
      await sql`update invitations set closed_at = now() - make_interval(days => ${days}) where id = ${body.id}`.execute(
        db,
      )
    }
    for (const [name, days] of Object.entries({ late: 29, forgotten: 31, waiting: -7 })) {
      ids[name] = String((await invite(admin, newAddress())).body.id)
      await sql`update invitations set expires_at = now() - make_interval(days => ${days}) where id = ${ids[name]}`.execute(
        db,
      )
    }
    await service.accountTasks['tidy-access']({})
    const left = await db
      .selectFrom('invitations')
      .select('id')
      .where('tenant_id', '=', admin.tenantId)
      .execute()
    t.strictSame(left.map(({ id }) => id).sort(), [ids.kept, ids.late, ids.waiting].sort())
    const links = await db
      .selectFrom('replaced_invitation_tokens')
      .select('invitation_id')
      .where('invitation_id', 'in', Object.values(ids))
      .execute()
    t.strictSame(links, [{ invitation_id: ids.kept }])
  },
)

t.test('a role that open invitations give is not deleted under them', async (t) => {
  const admin = await newTenant()
  const role = await call('POST', '/api/roles', { token: admin.token, body: { name: 'Guide' } })
  const { body } = await invite(admin, newAddress(), 'Guide')
  const drop = () => call('DELETE', `/api/roles/${role.body.id}`, { token: admin.token })
  t.match(await drop(), {
    status: 409,
    body: { code: 'conflict', detail: /^1 open invitation gives the role Guide/ },
  })
  await invite(admin, newAddress(), 'Guide')
  t.match((await drop()).body, { detail: /^2 open invitations give/ })
  await sql`update invitations set expires_at = now() where id <> ${body.id} and tenant_id = ${admin.tenantId}`.execute(
    db,
  )
  t.match((await drop()).body, { detail: /^1 open/ }, 'what has expired counts no more')
  await call('DELETE', `/api/invitations/${body.id}`, { token: admin.token })
  t.equal((await drop()).status, 204)
})
