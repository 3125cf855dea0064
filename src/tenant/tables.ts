// Written by `npm run types` from the migrated database; a test compares the two. Do not edit.
import type { Generated } from 'kysely'

export type AuditChainTable = {
  only_row: Generated<boolean>
  sealed_seq: Generated<string>
  pruned_position: Generated<string>
  pruned_hash: Buffer | null
}

export type AuditGapsTable = {
  first_seq: string
  last_seq: string
  until_xid: Generated<string>
  noticed_at: Generated<Date>
}

export type AuditLogTable = {
  id: string
  at: Generated<Date>
  actor_kind: 'person' | 'system_user' | 'platform_admin' | 'operator' | 'system'
  actor_id: string | null
  action: string
  entity_type: string
  entity_id: string | null
  address: string | null
  user_agent: string | null
  request_id: string | null
  seq: Generated<string>
  workspace_id: string | null
  before: Record<string, unknown> | null
  after: Record<string, unknown> | null
  details: Record<string, unknown> | null
}

export type AuditSealsTable = {
  position: string
  entry_id: string
  hash: Buffer
}

export type IdempotencyKeysTable = {
  id: string
  scope_hash: Buffer
  body_hash: Buffer
  answer: Record<string, unknown> | null
  expires_at: Date
}

export type JobSchedulesTable = {
  id: string
  name: string
  type: string
  payload: Record<string, unknown>
  cron: string
  time_zone: string
  enabled: boolean
  next_at: Date | null
  last_at: Date | null
  last_job_id: string | null
  created_by: string | null
  created_at: Generated<Date>
  updated_at: Generated<Date>
  left_out_since: Date | null
}

export type JobsTable = {
  id: string
  type: string
  payload: Record<string, unknown>
  status: Generated<'queued' | 'running' | 'succeeded' | 'failed' | 'cancelled'>
  priority: Generated<number>
  run_at: Generated<Date>
  attempts: Generated<number>
  max_attempts: number
  idempotency_key: string
  body_hash: Buffer
  workspace_id: string | null
  schedule_id: string | null
  result: Record<string, unknown> | null
  error: string | null
  progress: Record<string, unknown> | null
  state: Record<string, unknown> | null
  fence: Generated<number>
  worker_id: string | null
  heartbeat_at: Date | null
  created_by: string | null
  created_at: Generated<Date>
  started_at: Date | null
  finished_at: Date | null
}

export type ProjectsTable = {
  id: string
  name: string
  description: string | null
  workspace_id: string | null
  created_by: string | null
  created_at: Generated<Date>
  updated_at: Generated<Date>
  slug: Generated<string>
  archived_at: Date | null
}

export type SettingsTable = {
  only_row: Generated<boolean>
  settings: Generated<Record<string, unknown>>
  metadata: Generated<Record<string, unknown>>
  updated_at: Generated<Date>
}

export type UsersTable = {
  id: string
  person_id: string | null
  kind: 'member' | 'added' | 'system' | 'operator'
  status: 'active' | 'inactive' | 'pending' | 'removed'
  email: string | null
  first_name: string | null
  last_name: string | null
  created_by: string | null
  created_at: Generated<Date>
  updated_at: Generated<Date>
}

export type WorkspaceMembersTable = {
  workspace_id: string
  user_id: string
  role: 'viewer' | 'editor' | 'admin'
  created_at: Generated<Date>
  updated_at: Generated<Date>
}

export type WorkspacesTable = {
  id: string
  slug: string
  name: string
  created_by: string | null
  created_at: Generated<Date>
  updated_at: Generated<Date>
  archived_at: Date | null
}

export type TenantTables = {
  audit_chain: AuditChainTable
  audit_gaps: AuditGapsTable
  audit_log: AuditLogTable
  audit_seals: AuditSealsTable
  idempotency_keys: IdempotencyKeysTable
  job_schedules: JobSchedulesTable
  jobs: JobsTable
  projects: ProjectsTable
  settings: SettingsTable
  users: UsersTable
  workspace_members: WorkspaceMembersTable
  workspaces: WorkspacesTable
}
