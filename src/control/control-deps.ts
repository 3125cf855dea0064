import type { Grants } from '../access/grants.ts'
import type { Passwords } from '../access/passwords.ts'
import type { RateLimits } from '../access/rate-limits.ts'
import type { AccessTokens } from '../http/access-tokens.ts'
import type { SessionCookies } from '../http/cookies.ts'
import type { Authenticate } from '../http/identity.ts'
import type { RefuseForeignPages } from '../http/origins.ts'
import type { LimitByAddress } from '../http/rate-limit.ts'
import type { CountRequest } from '../http/request-limit.ts'
import type { SecretBox } from '../kernel/crypto.ts'
import type { MasterDb } from '../master/master.ts'
import type { TenantManager } from '../tenant-manager/tenant-manager.ts'
import type { Billing } from './plans/billing.ts'
import type { ReadTenantCounts } from './plans/subscription.ts'
import type { ReadTenantSettings, WriteTenantSettings } from './tenants/tenant-view.ts'

/** What the control plane's routes work with. */
export type ControlDeps = {
  db: MasterDb
  box: SecretBox
  grants: Grants
  passwords: Passwords
  limits: RateLimits
  limitByAddress: LimitByAddress
  tokens: AccessTokens
  accessTokenSeconds: number
  /** For the sessions whose tokens live in cookies. */
  cookies: SessionCookies
  refuseForeignPages: RefuseForeignPages
  /** For the few public routes that also know signed-in people. */
  authenticate: Authenticate
  /** The address people use; links in mails begin with it. */
  publicUrl: string
  /** Whether anybody may make an account. */
  signUpOpen: boolean
  /** Whether the invited may make one. */
  signUpInvited: boolean
  /** Whether an address must be proved before there is an account. */
  verifyEmail: 'before' | 'after'
  manager: TenantManager
  /** Days until a deleted tenant is erased. */
  tenantGraceDays: number
  readSettings: ReadTenantSettings
  writeSettings: WriteTenantSettings
  readTenantCounts: ReadTenantCounts
  /** Counts a request that is none to `/api/*` and still works in a tenant. */
  countRequest: CountRequest
  /** The requests in a tenant in this minute, over all nodes. */
  readRequestCount: (tenantId: string) => Promise<number>
  /** Undefined: no plan costs anything. */
  billing?: Billing
}
