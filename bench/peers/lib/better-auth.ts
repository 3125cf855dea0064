import { type BetterAuthOptions, betterAuth } from 'better-auth'
import { bearer, organization } from 'better-auth/plugins'
import type { Pool } from 'pg'

export const origin = 'http://localhost:4000'

/** What its documentation has one add for organizations and bearer tokens, and no limit on requests. */
export const authOptions = (database: Pool) =>
  ({
    database,
    baseURL: origin,
    secret: 'of-a-server-that-lives-for-one-benchmark',
    emailAndPassword: { enabled: true },
    rateLimit: { enabled: false },
    plugins: [organization(), bearer()],
  }) satisfies BetterAuthOptions

export const createAuth = (database: Pool) => betterAuth(authOptions(database))
