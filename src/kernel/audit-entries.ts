/** An entry of a tenant's audit log, as it is shown, exported and sealed. */
export type AuditEntry = {
  id: string
  /** RFC 3339, UTC, to the microsecond. */
  at: string
  actorKind: string
  actorId: string | null
  action: string
  entityType: string
  entityId: string | null
  workspaceId: string | null
  before: unknown
  after: unknown
  details: unknown
  address: string | null
  userAgent: string | null
  requestId: string | null
}

/**
 * Entries that are read at once. One may hold settings as they were and as they are, some 300 kB; what a tenant's people
 * write must not fill the memory of the process that reads the logs of all.
 */
export const entriesAtOnce = 250

/**
 * SQL that makes an `AuditEntry` of a row of `audit_log` called `a`. One for all who read entries, because what is sealed
 * must be what is shown.
 */
export const entryJson = `jsonb_build_object(
  'id', a.id, 'at', to_char(a.at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
  'actorKind', a.actor_kind, 'actorId', a.actor_id, 'action', a.action,
  'entityType', a.entity_type, 'entityId', a.entity_id, 'workspaceId', a.workspace_id,
  'before', a.before, 'after', a.after, 'details', a.details,
  'address', a.address, 'userAgent', a.user_agent, 'requestId', a.request_id)`
