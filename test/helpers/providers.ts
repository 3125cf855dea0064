import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { OAuth2Server } from 'oauth2-mock-server'
import OidcProvider from 'oidc-provider'
import type { Test } from 'tap'

/** The lying provider does not decode credentials (RFC 6749, 2.3.1), so nothing here needs it. */
const client = { id: 'freehold', secret: 'onlyForTests' }

/** What the environment says of a provider. */
const environment = (name: string, issuer: string): Record<string, string> => ({
  [`OIDC_${name}_ISSUER`]: issuer,
  [`OIDC_${name}_CLIENT_ID`]: client.id,
  [`OIDC_${name}_CLIENT_SECRET`]: client.secret,
})

export type Claims = Record<string, unknown>

export type HonestProvider = {
  issuer: string
  env: Record<string, string>
  /** Who has an account there, by what they type in as login; it is the subject too. */
  people: Map<string, Claims>
  /** Requests to its token endpoint so far. */
  tokenRequests: URLSearchParams[]
}

const listen = async (t: Test, server: Server): Promise<string> => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(
    () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  )
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** A certified OpenID provider in this process, with its pages for signing in and consent. */
export const startHonestProvider = async (
  t: Test,
  name: string,
  { claimsInIdToken = true, redirectUri = '' } = {},
): Promise<HonestProvider> => {
  const server = createServer()
  const issuer = await listen(t, server)
  const people = new Map<string, Claims>()
  const tokenRequests: URLSearchParams[] = []
  // What it warns of is what makes it a provider for tests.
  const { warn, info } = console
  console.warn = () => {}
  console.info = () => {}
  const provider = new OidcProvider(issuer, {
    clients: [{ client_id: client.id, client_secret: client.secret, redirect_uris: [redirectUri] }],
    claims: {
      openid: ['sub'],
      email: ['email', 'email_verified'],
      profile: ['name', 'given_name', 'family_name'],
    },
    conformIdTokenClaims: !claimsInIdToken,
    ttl: { AccessToken: 60, Grant: 600, IdToken: 600, Interaction: 600, Session: 600 },
    cookies: { keys: ['a key of this test'] },
    findAccount: (_ctx, id) => ({
      accountId: id,
      claims: () => ({ ...people.get(id), sub: id }),
    }),
  })
  const answer = provider.callback()
  Object.assign(console, { warn, info })
  provider.on('grant.success', ({ oidc }) => tokenRequests.push(new URLSearchParams(oidc.params as never)))
  server.on('request', (request, response) => void answer(request, response))
  return { issuer, env: environment(name, issuer), people, tokenRequests }
}

/** What a lying provider says at each step; whatever is not set is the truth. */
export type Lies = {
  token?: (token: { header: Claims; payload: Claims }) => void
  response?: (body: Claims) => void
  metadata?: (body: Claims) => void
  userinfo?: (body: Claims) => void
  redirect?: (url: URL) => void
  status?: number
}

export type LyingProvider = {
  issuer: string
  env: Record<string, string>
  server: OAuth2Server
  /** Whom it vouches for, and what it lies about; set before each sign-in. */
  says: { claims: Claims; lies: Lies }
}

const truth: Claims = { sub: 'johndoe', email: 'john@example.com', email_verified: true, given_name: 'John' }

/** A provider that says what it is told to. */
export const startLyingProvider = async (t: Test, name: string): Promise<LyingProvider> => {
  const server = new OAuth2Server()
  await server.issuer.keys.generate('RS256')
  await server.start(0, '127.0.0.1')
  const issuer = `http://127.0.0.1:${server.address().port}`
  server.issuer.url = issuer
  t.teardown(() => server.stop())
  const says: LyingProvider['says'] = { claims: truth, lies: {} }
  const { service } = server
  service.on('beforeTokenSigning', (token) => {
    // The access token is signed the same way; only ID tokens have an audience.
    if (token.payload.aud === undefined) return
    Object.assign(token.payload, says.claims)
    says.lies.token?.(token)
  })
  service.on('beforeResponse', (response) => {
    says.lies.response?.(response.body)
    if (says.lies.status !== undefined) response.statusCode = says.lies.status
  })
  service.on('beforeWellKnownOpenIdConfiguration', ({ body }) => {
    body.token_endpoint_auth_methods_supported = ['client_secret_basic']
    says.lies.metadata?.(body)
  })
  service.on('beforeUserinfo', (response) => {
    response.body = { ...says.claims }
    says.lies.userinfo?.(response.body)
  })
  service.on('beforeAuthorizeRedirect', ({ url }) => says.lies.redirect?.(url))
  return { issuer, env: environment(name, issuer), server, says }
}
