import type { Grants } from '../access/grants.ts'
import type { Passwords } from '../access/passwords.ts'
import type { AccessTokens } from '../http/access-tokens.ts'
import type { SecretBox } from '../kernel/crypto.ts'
import type { MasterDb } from '../master/master.ts'
import type { TenantManager } from '../tenant-manager/tenant-manager.ts'
import type { ReadTenantSettings } from './tenants/tenant-view.ts'

/** What the control plane's routes work with. */
export type ControlDeps = {
  db: MasterDb
  box: SecretBox
  grants: Grants
  passwords: Passwords
  tokens: AccessTokens
  accessTokenSeconds: number
  /** Whether anybody may make an account. */
  signUpOpen: boolean
  manager: TenantManager
  readSettings: ReadTenantSettings
}
