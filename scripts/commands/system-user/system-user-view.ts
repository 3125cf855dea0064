import type { SystemUser } from '../../../src/master/system-users.ts'

/** A system user as commands print it; its secrets are never among it. */
export const toSystemUserJson = (row: SystemUser) => ({
  id: row.id,
  name: row.first_name,
  email: row.email,
  serviceType: row.service_type,
  disabled: row.disabled_at !== null,
  tenantId: row.tenant_id,
  role: row.role,
  secrets: row.secrets.length,
  lastUsedAt: row.last_used_at?.toISOString() ?? null,
  createdAt: row.created_at.toISOString(),
})

/** The lines of one system user with its new secret. */
export const toSecretFields = (row: SystemUser, clientSecret: string) =>
  [
    ['id', row.id],
    ['email', row.email],
    ['name', row.first_name],
    ['type', row.service_type],
    ['secret', clientSecret],
  ] as const
