import { isSafeAddress } from './origins.ts'

/** An OpenID Connect provider that people may sign in with. */
export type SignInProvider = Readonly<{
  /** Its name in paths: `/auth/<name>`. */
  name: string
  /** Its name for people. */
  label: string
  /** As its discovery document spells it, but for a trailing slash. */
  issuer: string
  clientId: string
  clientSecret: string
}>

type Environment = Readonly<Record<string, string | undefined>>

/** Providers that need no issuer and label. */
const wellKnown: Readonly<Record<string, { issuer: string; label: string }>> = {
  GOOGLE: { issuer: 'https://accounts.google.com', label: 'Google' },
}

/** What else stands under `/auth/`: a provider of that name would hide it. A test compares the list with the routes. */
export const reservedNames: ReadonlySet<string> = new Set([
  'config',
  'context',
  'csrf',
  'email',
  'exchange',
  'identities',
  'invitation',
  'invitations',
  'login',
  'logout',
  'logout-all',
  'me',
  'mfa',
  'passkeys',
  'password',
  'refresh',
  'register',
  'sessions',
  'switch',
  'token',
])

const variable = /^OIDC_([A-Z0-9]+(?:_[A-Z0-9]+)*?)_(?:ISSUER|CLIENT_ID|CLIENT_SECRET|LABEL)$/

const readIssuer = (text: string): string => {
  const url = URL.parse(text)
  const bare = url !== null && url.search === '' && url.hash === '' && url.username + url.password === ''
  if (!bare || /[?#]/.test(text) || !isSafeAddress(url)) {
    throw new Error('must be an address like https://login.example.com; http only on this machine itself')
  }
  return text
}

const readLabel = (text: string): string => {
  if (!/^[^\p{C}<>]{1,50}$/u.test(text)) throw new Error('must be a name of at most 50 characters')
  return text
}

const readProvider = (env: Environment, name: string, mistakes: string[]): SignInProvider | undefined => {
  const known = wellKnown[name]
  const prefix = `OIDC_${name}`
  const text = (end: string): string | undefined => env[`${prefix}_${end}`]?.trim() || undefined
  const [clientId, clientSecret] = [text('CLIENT_ID'), text('CLIENT_SECRET')]
  const issuer = text('ISSUER') ?? known?.issuer
  const label = text('LABEL') ?? known?.label ?? name
  // A label, or the issuer that is meant anyway, asks for nothing.
  if (clientId === undefined && clientSecret === undefined && issuer === known?.issuer) return undefined
  const path = name.toLowerCase().replaceAll('_', '-')
  const before = mistakes.length
  const check = <T>(end: string, read: () => T): T | undefined => {
    try {
      return read()
    } catch (error) {
      mistakes.push(`${prefix}_${end} ${error instanceof Error ? error.message : String(error)}`)
      return undefined
    }
  }
  const given = (value: string | undefined): string => {
    if (value === undefined) throw new Error('is required with the other variables of this provider')
    return value
  }
  check('CLIENT_ID', () => given(clientId))
  check('CLIENT_SECRET', () => given(clientSecret))
  check('ISSUER', () => readIssuer(given(issuer)))
  check('LABEL', () => readLabel(label))
  if (reservedNames.has(path))
    mistakes.push(`${prefix}_ISSUER cannot be used: /auth/${path} is taken; choose another name`)
  if (mistakes.length > before) return undefined
  return Object.freeze({
    name: path,
    label,
    issuer: issuer ?? '',
    clientId: clientId ?? '',
    clientSecret: clientSecret ?? '',
  })
}

/** The same issuer, however its address is spelled. */
export const sameIssuer = (a: string, b: string): boolean => URL.parse(a)?.href === URL.parse(b)?.href

/**
 * Reads `OIDC_<NAME>_ISSUER`, `_CLIENT_ID`, `_CLIENT_SECRET` and `_LABEL` of every provider, in the order of their names.
 * Mistakes are added to `mistakes`, one line each, without any secret.
 */
export const readSignInProviders = (env: Environment, mistakes: string[]): readonly SignInProvider[] => {
  const names = new Set(Object.keys(wellKnown))
  for (const key of Object.keys(env)) {
    const name = variable.exec(key)?.[1]
    if (name !== undefined) names.add(name)
  }
  const providers: SignInProvider[] = []
  for (const name of [...names].sort()) {
    const provider = readProvider(env, name, mistakes)
    if (provider === undefined) continue
    const twin = providers.find((other) => sameIssuer(other.issuer, provider.issuer))
    if (twin === undefined) providers.push(provider)
    else mistakes.push(`OIDC_${name}_ISSUER is the issuer of ${twin.name} already; one name is enough`)
  }
  return Object.freeze(providers)
}
