import { AppError } from '../kernel/errors.ts'
import type { MasterDb } from '../master/master.ts'
import { normalizeEmail } from '../master/people.ts'
import { deviceFingerprint, isKnownDevice } from './known-devices.ts'
import type { Limit, RateLimits } from './rate-limits.ts'
import type { ClientInfo } from './sessions.ts'

/** 5 at once and one every 3 minutes: at most 10 in any 15 minutes, however many addresses they come from. */
const guesses = { burst: 5, everySeconds: 180 } as const
const anywhere: Limit = { name: 'password of account', ...guesses }
const knownDevice: Limit = { name: 'password on known device', ...guesses }
const ownPassword: Limit = { name: 'password of session', ...guesses }

/** Nobody's id: an unknown account is asked about as a known one is. */
const nobody = '00000000-0000-0000-0000-000000000000'

const tooMany = (retryAfter: number): AppError =>
  new AppError(
    'rate_limited',
    'Too many wrong passwords for this account. Wait, sign in where you have signed in before, or ask for a new password.',
    { retryAfter },
  )

type Deps = { db: MasterDb; limits: RateLimits }

const checkWithin = async <T>(
  { limits }: Deps,
  limit: Limit,
  subject: string,
  check: () => Promise<T | undefined>,
): Promise<T | undefined> => {
  const { granted, retryAfterSeconds } = await limits.take(limit, subject)
  if (!granted) throw tooMany(retryAfterSeconds)
  let found: T | undefined
  try {
    found = await check()
  } catch (error) {
    await limits.giveBack(limit, subject)
    throw error
  }
  if (found !== undefined) await limits.giveBack(limit, subject)
  return found
}

/**
 * Runs a check of a password of the account with this address, known or not, when there have not been too many wrong ones;
 * `check` answers undefined for a wrong one. Throws `rate_limited`. Who has signed in on such a device before has
 * a count of their own there, so nobody elsewhere can use it up for them.
 */
export const checkPasswordAt = async <T>(
  deps: Deps,
  who: { email: string; personId: string | undefined; client: ClientInfo },
  check: () => Promise<T | undefined>,
): Promise<T | undefined> => {
  const personId = who.personId ?? nobody
  return (await isKnownDevice(deps.db, personId, who.client))
    ? checkWithin(deps, knownDevice, deviceFingerprint(personId, who.client).toString('hex'), check)
    : checkWithin(deps, anywhere, normalizeEmail(who.email), check)
}

/** The same for a signed-in person who must give their password again. */
export const checkOwnPassword = <T>(
  deps: Deps,
  personId: string,
  check: () => Promise<T | undefined>,
): Promise<T | undefined> => checkWithin(deps, ownPassword, personId, check)

/** After a new password by mail: wrong guesses at the old one no longer count on the device it was chosen on. */
export const forgiveDevice = (deps: Deps, personId: string, client: ClientInfo): Promise<void> =>
  deps.limits.clear(knownDevice, deviceFingerprint(personId, client).toString('hex'))
