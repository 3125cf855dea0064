import {
  AuthorizationResponseError,
  allowInsecureRequests,
  authorizationCodeGrant,
  buildAuthorizationUrl,
  type ClientAuth,
  ClientSecretBasic,
  ClientSecretPost,
  type Configuration,
  calculatePKCECodeChallenge,
  customFetch,
  discovery,
  enableNonRepudiationChecks,
  fetchUserInfo,
} from 'openid-client'
import { AppError } from '../kernel/errors.ts'
import { type SignInProvider, sameIssuer } from '../kernel/sign-in-providers.ts'
import { type ProvidedIdentity, readIdentity } from './claims.ts'
import { guardedFetch, mayAsk, ProviderUnreachable } from './guarded-fetch.ts'

/** A request to the provider is given up after this many seconds. */
const timeoutSeconds = 5
/** So long, in milliseconds, a discovery document is good; keys are read anew by themselves. */
const discoveryMs = 3_600_000
/** When to try again, in seconds, a provider that is away. */
const retryAfter = 10

/** What one sign-in is bound to: told to the provider in part, and expected back. */
export type Binding = Readonly<{ state: string; nonce: string; verifier: string }>

/** A provider that people may sign in with. */
export type Provider = Readonly<{
  name: string
  label: string
  issuer: string
  /** Where to send the browser. Throws `provider_unavailable`. */
  begin(redirectUri: string, binding: Binding): Promise<URL>
  /**
   * Who came back to this address, the redirect URI with what the provider added. Throws `provider_unavailable`,
   * `forbidden` when the person or the provider said no, and `unauthenticated` when the answer proves nothing.
   */
  finish(answer: URL, binding: Binding): Promise<ProvidedIdentity>
}>

/** Also when the library says it in other words. */
const isUnreachable = (error: unknown): boolean =>
  error instanceof ProviderUnreachable ||
  (error instanceof Error && (error.name === 'TimeoutError' || isUnreachable(error.cause)))

/** As the discovery document wishes; without a wish, as OpenID Connect Core, 9, has it. */
const clientSecret =
  (secret: string): ClientAuth =>
  (as, client, body, headers) => {
    const posts = as.token_endpoint_auth_methods_supported?.includes('client_secret_post') ?? false
    return (posts ? ClientSecretPost(secret) : ClientSecretBasic(secret))(as, client, body, headers)
  }

const discover = async (settings: SignInProvider): Promise<Configuration> => {
  const issuer = new URL(settings.issuer)
  const configuration = await discovery(
    issuer,
    settings.clientId,
    undefined,
    clientSecret(settings.clientSecret),
    {
      timeout: timeoutSeconds,
      [customFetch]: guardedFetch(issuer),
      // Without the first, a token that came over TLS is believed whatever its signature.
      execute: [enableNonRepudiationChecks, ...(issuer.protocol === 'http:' ? [allowInsecureRequests] : [])],
    },
  )
  const { authorization_endpoint: page } = configuration.serverMetadata()
  if (page === undefined || !mayAsk(new URL(page), issuer)) {
    throw new Error('the discovery document names no page to sign in at, or one without TLS')
  }
  return configuration
}

/** Prepares a provider; asks it nothing yet. */
export const createProvider = (settings: SignInProvider): Provider => {
  const { name, label, issuer } = settings
  let known: { configuration: Configuration; until: number } | undefined
  let asking: Promise<Configuration> | undefined

  const away = (cause: unknown): AppError =>
    new AppError(
      'provider_unavailable',
      `${label} cannot be reached right now; try again in a moment, or sign in another way.`,
      {
        retryAfter,
        cause,
      },
    )
  const ask = async (): Promise<Configuration> => {
    try {
      const configuration = await discover(settings)
      known = { configuration, until: performance.now() + discoveryMs }
      return configuration
    } catch (error) {
      // An old document is better than none.
      if (known !== undefined) return known.configuration
      throw away(error)
    } finally {
      asking = undefined
    }
  }
  const configured = (): Promise<Configuration> => {
    if (known !== undefined && performance.now() < known.until) return Promise.resolve(known.configuration)
    asking ??= ask()
    return asking
  }
  const refusalOf = (error: unknown): AppError => {
    if (isUnreachable(error)) return away(error)
    if (error instanceof AuthorizationResponseError) {
      return new AppError('forbidden', `${label} did not let you in; begin again if you want to.`, {
        cause: error,
      })
    }
    return new AppError(
      'unauthenticated',
      `What ${label} answered proves nothing; begin the sign-in again.`,
      {
        cause: error,
      },
    )
  }

  /** Claims of the ID token, and of the userinfo endpoint where the token has no address. */
  const claimsOf = async (configuration: Configuration, answer: URL, binding: Binding) => {
    const tokens = await authorizationCodeGrant(configuration, answer, {
      expectedState: binding.state,
      expectedNonce: binding.nonce,
      pkceCodeVerifier: binding.verifier,
      idTokenExpected: true,
    })
    const claims = tokens.claims()
    if (claims === undefined || !sameIssuer(claims.iss, issuer)) throw new Error('no ID token of this issuer')
    const { userinfo_endpoint: more } = configuration.serverMetadata()
    if (claims.email !== undefined || more === undefined) return claims
    const info = await fetchUserInfo(configuration, tokens.access_token, claims.sub)
    return { ...info, iss: claims.iss, sub: claims.sub }
  }

  return {
    name,
    label,
    issuer,
    begin: async (redirectUri, { state, nonce, verifier }) =>
      buildAuthorizationUrl(await configured(), {
        redirect_uri: redirectUri,
        scope: 'openid email profile',
        state,
        nonce,
        code_challenge: await calculatePKCECodeChallenge(verifier),
        code_challenge_method: 'S256',
      }),
    finish: async (answer, binding) => {
      const configuration = await configured()
      try {
        const identity = readIdentity(await claimsOf(configuration, answer, binding))
        if (identity === undefined) throw new Error('the ID token names nobody')
        return identity
      } catch (error) {
        throw refusalOf(error)
      }
    },
  }
}
