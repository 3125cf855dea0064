export type FindingKind =
  | 'cluster_unreachable'
  | 'cluster_open_to_public'
  | 'half_built_database'
  | 'unfinished_erase'
  | 'orphan_database'
  | 'missing_database'
  | 'invalid_database'
  | 'missing_role'
  | 'foreign_owner'
  | 'open_to_others'
  | 'closed_to_tenant'
  | 'excess_rights'
  | 'role_changed'
  | 'held_without_tenant'
  | 'tenant_without_database'
  | 'deed_to_wrong_database'
  | 'tenant_pending'
  | 'tenant_not_told'
  | 'audit_log_changed'
  | 'old_schema'
  | 'stalled_operation'
  | 'too_few_spares'
  | 'left_template'

/** Something that is not as it should be, in words for an operator, and in ids for the repair. */
export type Finding = {
  kind: FindingKind
  /** `problem`: something does not work or is not safe. `notice`: work that is due. */
  severity: 'problem' | 'notice'
  /** What it is about: a database's or role's name, a tenant's slug, a cluster's name. */
  subject: string
  /** What it is, and what repairs it. */
  message: string
  /** Whether `repair` knows what to do without risk to anybody's data. */
  repairable: boolean
  target: { clusterId?: string; databaseId?: string; tenantId?: string; operationId?: string; name?: string }
}

/** Two findings with one key are the same fault, seen twice. */
export const findingKey = (finding: Finding): string => `${finding.kind} ${finding.subject}`
