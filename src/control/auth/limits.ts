import type { Limit } from '../../access/rate-limits.ts'

/**
 * What one address (an IPv4 address, or a /64 of IPv6) may ask for. Generous, because many people can share one: what
 * protects an account is counted by account, wherever it comes from.
 */
export const addressLimits = {
  /** Wrong sign-ins only. */
  signIn: { name: 'sign-in', burst: 60, everySeconds: 5 },
  signUp: { name: 'sign-up', burst: 20, everySeconds: 60 },
  mails: { name: 'mails', burst: 20, everySeconds: 60 },
  links: { name: 'links', burst: 30, everySeconds: 10 },
  /** Going to another provider and coming back. */
  providers: { name: 'providers', burst: 60, everySeconds: 5 },
  /** A refresh token can't be guessed; this only bounds the work. */
  refresh: { name: 'refresh', burst: 300, everySeconds: 0.2 },
} as const satisfies Record<string, Limit>

/**
 * Mails of one kind to one address, whoever asks. Beyond it the answer is the same and nothing is sent: the links of
 * the mails before are good for an hour at least.
 */
export const mailsToOne: Limit = { name: 'mails to one', burst: 3, everySeconds: 600 }
