// Written by `npm run types` from the migrated database; a test compares the two. Do not edit.
import type { Generated } from 'kysely'

export type AuditArchivePartsTable = {
  id: string
  tenant_id: string
  part: number
  sealed: Buffer
}

export type AuditArchivesTable = {
  tenant_id: string
  entries: string
  checkpoint: string | null
  pruned: string | null
  created_at: Generated<Date>
  erase_after: Date
}

export type AuditCheckpointsTable = {
  tenant_id: string
  position: string
  hash: string
  checkpoint: string
  pruned_position: Generated<string>
  pruned_hash: string | null
  pruned: string | null
  broken_at: Date | null
  updated_at: Generated<Date>
}

export type AuditKeysTable = {
  id: string
  public_key: string
  private_key: Buffer
  created_at: Generated<Date>
}

export type AuditLogTable = {
  id: string
  at: Generated<Date>
  actor_kind: 'person' | 'platform_admin' | 'operator' | 'system' | 'nobody'
  actor_id: string | null
  action: string
  entity_type: string
  entity_id: string | null
  address: string | null
  user_agent: string | null
  request_id: string | null
  tenant_id: string | null
  details: Record<string, unknown> | null
}

export type ClustersTable = {
  id: string
  name: string
  kind: 'shared' | 'dedicated'
  region: string
  host: string
  port: number
  ssl: 'disable' | 'no-verify' | 'verify-full'
  provisioner: Buffer
  status: Generated<'open' | 'draining' | 'closed'>
  created_at: Generated<Date>
  connection_budget: Generated<number>
  connections_per_node: Generated<number>
}

export type DatabasesTable = {
  id: string
  cluster_id: string
  name: string
  status: 'building' | 'spare' | 'held' | 'retired' | 'erasing'
  secret: Buffer
  credential_version: Generated<number>
  schema_version: string
  epoch: Generated<number>
  created_at: Generated<Date>
  updated_at: Generated<Date>
}

export type DirectoryRollsTable = {
  tenant_id: string
  asked_at: Date
}

export type ErasuresTable = {
  id: string
  tenant_id: string
  slug: string
  name: string
  database_id: string | null
  database_name: string | null
  cluster: string | null
  created_at: Date
  deleted_at: Date | null
  begun_at: Generated<Date>
  finished_at: Date | null
  audit_entries: string | null
  audit_hash: string | null
  audit_kept_until: Date | null
}

export type IdempotencyKeysTable = {
  id: string
  scope_hash: Buffer
  body_hash: Buffer
  person_id: string
  tenant_id: string | null
  answer: Buffer | null
  expires_at: Date
}

export type IdentitiesTable = {
  id: string
  person_id: string
  issuer: string
  subject: string
  email: string | null
  created_at: Generated<Date>
  last_used_at: Date | null
}

export type InstallationTable = {
  only_row: Generated<boolean>
  id: string
  key_check: Buffer
  admin_shown_at: Date | null
  created_at: Generated<Date>
}

export type InvitationsTable = {
  id: string
  tenant_id: string
  email: string
  role_id: string
  invited_by: string | null
  by_platform: Generated<boolean>
  token_hash: Buffer
  status: Generated<'open' | 'accepted' | 'declined' | 'cancelled' | 'expired'>
  created_at: Generated<Date>
  sent_at: Generated<Date>
  expires_at: Date
  closed_at: Date | null
}

export type KnownDevicesTable = {
  person_id: string
  fingerprint: Buffer
  first_seen_at: Generated<Date>
  last_seen_at: Generated<Date>
}

export type MailedTokensTable = {
  id: string
  purpose: 'sign_up' | 'verify_email' | 'reset_password' | 'link_identity'
  token_hash: Buffer
  email: string
  person_id: string | null
  registration: Record<string, unknown> | null
  contested: Generated<boolean>
  created_at: Generated<Date>
  expires_at: Date
  identity: Record<string, unknown> | null
}

export type MembershipsTable = {
  tenant_id: string
  person_id: string
  role_id: string
  status: Generated<'active' | 'inactive' | 'pending'>
  created_at: Generated<Date>
  updated_at: Generated<Date>
}

export type NodeSharesTable = {
  node_id: string
  cluster_id: string
  granted: number
  in_use: number
  pools: Generated<number>
  leases: Generated<number>
  waiters: Generated<number>
  opening: Generated<number>
  idle: Generated<number>
  busy: Generated<number>
  closing: Generated<number>
}

export type NodesTable = {
  id: string
  role: 'all' | 'api' | 'worker'
  version: string
  host: string
  routes: boolean
  renewal: number
  started_at: Date
  heartbeat_at: Date
  expires_at: Date
}

export type OperationsTable = {
  id: string
  kind: 'build' | 'provision' | 'erase' | 'migrate' | 'purge'
  status: 'running' | 'succeeded' | 'failed'
  step: string
  tenant_id: string | null
  database_id: string | null
  cluster_id: string | null
  attempts: Generated<number>
  error: string | null
  epoch: Generated<number>
  created_at: Generated<Date>
  updated_at: Generated<Date>
  finished_at: Date | null
}

export type PeopleTable = {
  id: string
  email: string
  first_name: string
  last_name: string | null
  password_hash: string | null
  email_verified_at: Date | null
  platform_admin: Generated<boolean>
  disabled_at: Date | null
  created_at: Generated<Date>
  updated_at: Generated<Date>
  kind: Generated<'person' | 'system'>
}

export type PlansTable = {
  id: Generated<string>
  key: string
  name: string
  description: Generated<string>
  status: Generated<'active' | 'archived'>
  weight: Generated<number>
  seats: number | null
  projects: number | null
  jobs_per_day: number | null
  requests_per_minute: number | null
  connections: number | null
  storage_bytes: string | null
  trial_days: number | null
  self_service: Generated<boolean>
  falls_back_to: string | null
  created_at: Generated<Date>
  updated_at: Generated<Date>
}

export type PoliciesTable = {
  id: string
  tenant_id: string | null
  name: string
  description: Generated<string>
  created_at: Generated<Date>
  updated_at: Generated<Date>
}

export type PolicyPermissionsTable = {
  policy_id: string
  permission: string
}

export type RateLimitsTable = {
  key: Buffer
  full_at: Date
  granted: boolean
}

export type RefreshTokensTable = {
  token_hash: Buffer
  session_id: string
  generation: number
  created_at: Generated<Date>
}

export type ReplacedInvitationTokensTable = {
  token_hash: Buffer
  invitation_id: string
}

export type RequestCountsTable = {
  tenant_id: string
  minute: Date
  requests: number
}

export type RolePoliciesTable = {
  role_id: string
  policy_id: string
}

export type RolesTable = {
  id: string
  tenant_id: string | null
  name: string
  description: Generated<string>
  created_at: Generated<Date>
  updated_at: Generated<Date>
}

export type SealedPayloadsTable = {
  id: string
  sealed: Buffer
  created_at: Generated<Date>
}

export type SessionsTable = {
  id: string
  person_id: string
  tenant_id: string | null
  secret: Buffer
  generation: Generated<number>
  rotated_at: Generated<Date>
  authenticated_by: Generated<'password'>
  authenticated_at: Generated<Date>
  address: string | null
  user_agent: string | null
  created_at: Generated<Date>
  expires_at: Date
  ended_at: Date | null
  end_reason:
    | 'logout'
    | 'reuse'
    | 'disabled'
    | 'expired'
    | 'revoked'
    | 'password_changed'
    | 'password_reset'
    | 'taken_over'
    | null
  amr: Generated<string[]>
  last_used_at: Generated<Date>
  idle_expires_at: Generated<Date>
  oldest_good: Generated<number>
  oldest_good_before: Generated<number>
  system_secret_id: string | null
  csrf_hash: Buffer | null
}

export type SignInCodesTable = {
  code_hash: Buffer
  identity_id: string
  challenge: Buffer | null
  expires_at: Date
}

export type SigningKeysTable = {
  id: string
  algorithm: 'EdDSA'
  public_key: string
  private_key: Buffer
  created_at: Generated<Date>
  retired_at: Date | null
  signs_from: Generated<Date>
}

export type SpentSignInsTable = {
  state_hash: Buffer
  expires_at: Date
}

export type SubscriptionsTable = {
  tenant_id: string
  status: Generated<'trialing' | 'active' | 'expired'>
  ends_at: Date | null
  warned_of: Date | null
  trials: Generated<string[]>
  changed_by: string | null
  changed_at: Generated<Date>
}

export type SystemUserSecretsTable = {
  id: string
  system_user_id: string
  secret_hash: Buffer
  created_at: Generated<Date>
  expires_at: Date | null
}

export type SystemUsersTable = {
  id: string
  service_type: string
  metadata: Generated<Record<string, unknown>>
  last_used_at: Date | null
  tenant_id: string | null
}

export type TenantEntriesTable = {
  tenant_id: string
  person_id: string
  reason: string
  entered_at: Generated<Date>
  expires_at: Date
}

export type TenantOutboxTable = {
  id: Generated<string>
  tenant_id: string
  kind: 'audit' | 'member' | 'roll' | 'left'
  ref: string
  created_at: Generated<Date>
}

export type TenantUsageTable = {
  tenant_id: string
  storage_bytes: string
  measured_at: Generated<Date>
}

export type TenantWakeupsTable = {
  tenant_id: string
  wake_at: Date
}

export type TenantsTable = {
  id: string
  slug: string
  name: string
  status: 'pending' | 'active' | 'suspended' | 'deleted'
  database_id: string | null
  plan: string
  region: string
  tier: 'shared' | 'dedicated' | 'external'
  logo_url: string | null
  purge_after: Date | null
  created_at: Generated<Date>
  updated_at: Generated<Date>
  deleted_at: Date | null
  restore_to: 'pending' | 'active' | 'suspended' | null
}

export type MasterTables = {
  audit_archive_parts: AuditArchivePartsTable
  audit_archives: AuditArchivesTable
  audit_checkpoints: AuditCheckpointsTable
  audit_keys: AuditKeysTable
  audit_log: AuditLogTable
  clusters: ClustersTable
  databases: DatabasesTable
  directory_rolls: DirectoryRollsTable
  erasures: ErasuresTable
  idempotency_keys: IdempotencyKeysTable
  identities: IdentitiesTable
  installation: InstallationTable
  invitations: InvitationsTable
  known_devices: KnownDevicesTable
  mailed_tokens: MailedTokensTable
  memberships: MembershipsTable
  node_shares: NodeSharesTable
  nodes: NodesTable
  operations: OperationsTable
  people: PeopleTable
  plans: PlansTable
  policies: PoliciesTable
  policy_permissions: PolicyPermissionsTable
  rate_limits: RateLimitsTable
  refresh_tokens: RefreshTokensTable
  replaced_invitation_tokens: ReplacedInvitationTokensTable
  request_counts: RequestCountsTable
  role_policies: RolePoliciesTable
  roles: RolesTable
  sealed_payloads: SealedPayloadsTable
  sessions: SessionsTable
  sign_in_codes: SignInCodesTable
  signing_keys: SigningKeysTable
  spent_sign_ins: SpentSignInsTable
  subscriptions: SubscriptionsTable
  system_user_secrets: SystemUserSecretsTable
  system_users: SystemUsersTable
  tenant_entries: TenantEntriesTable
  tenant_outbox: TenantOutboxTable
  tenant_usage: TenantUsageTable
  tenant_wakeups: TenantWakeupsTable
  tenants: TenantsTable
}
