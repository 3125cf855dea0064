/** Who somebody is at a provider. Issuer and subject name them; everything else is hearsay, good for a first account. */
export type ProvidedIdentity = Readonly<{
  issuer: string
  subject: string
  /** As the provider spells it. Undefined when it names none, or none that we could write to. */
  email: string | undefined
  /** True when the provider says, in so many words, that the address was proved. */
  emailVerified: boolean
  firstName: string | undefined
  lastName: string | undefined
}>

type Claims = Readonly<Record<string, unknown>>

/** The same addresses that our own forms take. */
const mailable = /^[a-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[a-z0-9-]+(\.[a-z0-9-]+)+$/i

const readEmail = (value: unknown): string | undefined =>
  typeof value === 'string' && value.length <= 254 && mailable.test(value) ? value : undefined

/** One line of at most 100 characters without any that obey or hide. */
const readName = (value: unknown): string | undefined => {
  if (typeof value !== 'string') return undefined
  const line = value.replaceAll(/[\p{C}\s]+/gu, ' ').trim()
  return [...line].slice(0, 100).join('').trim() || undefined
}

/** Takes what we use from checked claims; undefined when they name nobody. */
export const readIdentity = (claims: Claims): ProvidedIdentity | undefined => {
  const { iss, sub } = claims
  // OpenID Connect Core, 2: a subject has at most 255 ASCII characters.
  if (typeof iss !== 'string' || typeof sub !== 'string' || !/^[\x20-\x7e]{1,255}$/.test(sub))
    return undefined
  const email = readEmail(claims.email)
  return {
    issuer: iss,
    subject: sub,
    email,
    // Some providers send the text "true", and some have sent it for every address.
    emailVerified: email !== undefined && claims.email_verified === true,
    firstName: readName(claims.given_name) ?? readName(claims.name),
    lastName: claims.given_name === undefined ? undefined : readName(claims.family_name),
  }
}
