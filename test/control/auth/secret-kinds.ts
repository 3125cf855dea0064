import { createMailedToken } from '../../../src/access/mailed-tokens.ts'
import { createSignInCode } from '../../../src/access/sign-in-codes.ts'
import { type Answer, type Freehold, makePlatformAdmin, startNode } from '../../helpers/freehold.ts'
import type { Mailbox } from '../../helpers/mailbox.ts'
import type { TestPostgres } from '../../helpers/postgres.ts'

/** What the parts below work with. */
export type SecretWorld = {
  freehold: Freehold
  /** A node of the same installation where an address is proved before there is an account. */
  strict: Freehold
  mailbox: Mailbox
}

/** Some kinds of secret, one good one of each, and every place that takes one of them. */
export type SecretPart = {
  secrets: Record<string, string>
  endpoints: Record<string, { takes: readonly string[]; present: (text: string) => Promise<Answer> }>
}

export const metricsToken = 'a token for whoever collects metrics'

/** Each secret has an owner of its own, so that using one spoils no other. */
const accounts = async ({ freehold, mailbox }: SecretWorld): Promise<SecretPart> => {
  const { call, service, signUp } = freehold
  const [bearer, refresher, forgetful, member] = [
    await signUp(),
    await signUp(),
    await signUp(),
    await signUp(),
  ]
  const verify = (await mailbox.receive(service, bearer.email)).at(-1)?.token ?? ''
  await call('POST', '/auth/password/forgot', { body: { email: forgetful.email } })
  const reset = (await mailbox.receive(service, forgetful.email)).at(-1)?.token ?? ''
  // Long enough not to be refused for its length where a new password is chosen, and nobody else's.
  const password = 'the one password of this person'
  const set = { currentPassword: member.password, newPassword: password }
  await call('PUT', '/auth/password', { token: member.token, body: set })
  return {
    secrets: { access: bearer.token, refresh: refresher.refreshToken, verify, reset, password },
    endpoints: {
      'GET /auth/context': {
        takes: ['access', 'system access'],
        present: (token) => call('GET', '/auth/context', { token }),
      },
      'POST /auth/email/resend': {
        takes: ['access'],
        present: (token) => call('POST', '/auth/email/resend', { token }),
      },
      'POST /auth/refresh': {
        takes: ['refresh'],
        present: (refreshToken) => call('POST', '/auth/refresh', { body: { refreshToken } }),
      },
      'POST /auth/email/verify': {
        takes: ['verify', 'sign-up'],
        present: (token) => call('POST', '/auth/email/verify', { body: { token } }),
      },
      'POST /auth/password/reset': {
        takes: ['reset'],
        present: (token) =>
          call('POST', '/auth/password/reset', { body: { token, password: 'a new long password' } }),
      },
      'POST /auth/login': {
        takes: ['password'],
        present: (text) => call('POST', '/auth/login', { body: { email: member.email, password: text } }),
      },
      'PUT /auth/password': {
        takes: ['password'],
        present: (currentPassword) =>
          call('PUT', '/auth/password', {
            token: member.token,
            body: { currentPassword, newPassword: 'and yet another password' },
          }),
      },
    },
  }
}

const signUps = async ({ strict, mailbox }: SecretWorld): Promise<SecretPart> => {
  const email = 'waits-for-a-link@example.com'
  await strict.call('POST', '/auth/register', {
    body: { email, password: 'a long passphrase', firstName: 'W' },
  })
  const mails = await mailbox.receive(strict.service, email)
  return { secrets: { 'sign-up': mails.at(-1)?.token ?? '' }, endpoints: {} }
}

const systemUsers = async ({ freehold }: SecretWorld): Promise<SecretPart> => {
  const { call, service, signUp } = freehold
  const admin = await signUp()
  await makePlatformAdmin(service, admin.personId)
  const make = async (email: string) => {
    const body = { name: 'Billing', email, serviceType: 'billing' }
    return (await call('POST', '/platform/system-users', { token: admin.token, body })).body
  }
  const one = await make('billing@example.com')
  const client = { grant_type: 'client_credentials', client_id: one.id }
  const askToken = (client_secret: unknown) =>
    call('POST', '/auth/token', { body: { ...client, client_secret } })
  const access = String((await askToken(one.clientSecret)).body.access_token)
  return {
    secrets: { client: String(one.clientSecret), 'system access': access },
    endpoints: {
      'POST /auth/token': { takes: ['client'], present: askToken },
      'POST /auth/login as a system user': {
        takes: ['client'],
        present: (text) => call('POST', '/auth/login', { body: { email: one.email, password: text } }),
      },
      'POST /auth/token with Basic credentials': {
        takes: ['client'],
        present: (text) =>
          call('POST', '/auth/token', {
            headers: { authorization: `Basic ${Buffer.from(`${one.id}:${text}`).toString('base64')}` },
            body: { grant_type: 'client_credentials' },
          }),
      },
    },
  }
}

/** Each place has an invitation of its own: accepting spends it. */
const invitations = async ({ freehold, mailbox }: SecretWorld): Promise<SecretPart> => {
  const { call, service, newTenant, signUp } = freehold
  const admin = await newTenant()
  const guest = await signUp()
  const now = new Date()
  await service.master.db
    .updateTable('people')
    .set({ email_verified_at: now })
    .where('id', '=', guest.personId)
    .execute()
  const email = 'invited@example.com'
  const tokenFor = async (to: string): Promise<string> => {
    await call('POST', '/api/invitations', { token: admin.token, body: { email: to, role: 'Viewer' } })
    return (await mailbox.receive(service, to)).at(-1)?.token ?? ''
  }
  return {
    secrets: { invitation: await tokenFor(guest.email), 'invitation to sign up': await tokenFor(email) },
    endpoints: {
      'GET /invitations/:token': {
        takes: ['invitation', 'invitation to sign up'],
        present: (token) => call('GET', `/invitations/${encodeURIComponent(token)}`),
      },
      'POST /auth/register': {
        takes: ['invitation to sign up'],
        present: (invitationToken) =>
          call('POST', '/auth/register', {
            body: { email, password: 'a long passphrase', firstName: 'I', invitationToken },
          }),
      },
      'POST /invitations/:token/accept': {
        takes: ['invitation'],
        present: (token) =>
          call('POST', `/invitations/${encodeURIComponent(token)}/accept`, { token: guest.token }),
      },
    },
  }
}

const identities = async ({ freehold }: SecretWorld): Promise<SecretPart> => {
  const { call, service, signUp } = freehold
  const { db } = service.master
  const [known, asked] = [await signUp(), await signUp()]
  const issuer = 'https://idp.example'
  const id = crypto.randomUUID()
  const identity = { id, person_id: known.personId, issuer, subject: known.personId }
  await db.insertInto('identities').values(identity).execute()
  const owner = { purpose: 'link_identity', email: asked.email, personId: asked.personId } as const
  const { code, token } = await db.transaction().execute(async (trx) => ({
    code: await createSignInCode(trx, id, null),
    ...(await createMailedToken(trx, { ...owner, identity: { issuer, subject: asked.personId } })),
  }))
  return {
    secrets: { 'sign-in code': code, 'identity link': token },
    endpoints: {
      'POST /auth/exchange': {
        takes: ['sign-in code'],
        present: (text) => call('POST', '/auth/exchange', { body: { code: text } }),
      },
      'POST /auth/identities/confirm': {
        takes: ['identity link'],
        present: (text) => call('POST', '/auth/identities/confirm', { body: { token: text } }),
      },
    },
  }
}

const metrics = async ({ freehold }: SecretWorld): Promise<SecretPart> => ({
  secrets: { metrics: metricsToken },
  endpoints: {
    'GET /metrics': {
      takes: ['metrics'],
      // Handed on by a proxy, so not from this machine, which needs no token.
      present: (token) =>
        freehold.call('GET', '/metrics', { token, headers: { 'x-forwarded-for': '192.0.2.1' } }),
    },
  },
})

/** Every part there is. What adds a kind of secret, or a place that takes one, adds a part here. */
const parts: readonly ((world: SecretWorld) => Promise<SecretPart>)[] = [
  accounts,
  signUps,
  systemUsers,
  invitations,
  identities,
  metrics,
]

/** The nodes for all parts. */
export const startSecretWorld = async (
  t: Parameters<typeof startNode>[0],
  postgres: TestPostgres,
  mailbox: Mailbox,
): Promise<SecretWorld> => ({
  freehold: await startNode(t, postgres, { ...mailbox.env, METRICS_TOKEN: metricsToken }),
  strict: await startNode(t, postgres, { ...mailbox.env, VERIFY_EMAIL: 'before' }),
  mailbox,
})

/** A fresh secret of every kind, and every place that takes one. */
export const makeSecrets = async (world: SecretWorld): Promise<SecretPart> => {
  const all: SecretPart = { secrets: {}, endpoints: {} }
  for (const make of parts) {
    const { secrets, endpoints } = await make(world)
    Object.assign(all.secrets, secrets)
    Object.assign(all.endpoints, endpoints)
  }
  return all
}
