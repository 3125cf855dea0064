import { type Static, Type } from 'typebox'
import { Body, Email, Id, Line, Nullable, Time } from '../../http/schemas.ts'
import type { SystemUser } from '../../master/system-users.ts'

const ServiceType = () => Line({ maxLength: 63, description: 'What kind of program it is, such as billing' })
const Metadata = () =>
  Type.Record(Type.String(), Type.String({ maxLength: 500 }), {
    maxProperties: 50,
    description: 'Whatever operators want to know of it; no secrets',
  })

export const CreateBody = Body({
  name: Line({ maxLength: 100 }),
  email: Email(),
  serviceType: ServiceType(),
  metadata: Type.Optional(Metadata()),
})
export const PatchBody = Body(
  {
    name: Type.Optional(Line({ maxLength: 100 })),
    serviceType: Type.Optional(ServiceType()),
    metadata: Type.Optional(Metadata()),
    disabled: Type.Optional(Type.Boolean({ description: 'true ends its sessions' })),
  },
  { minProperties: 1 },
)
export const RotateBody = Body({
  graceDays: Type.Integer({ minimum: 0, maximum: 90, description: 'So long the old secret works too' }),
})
export const RoleBody = Body({
  role: Line({ maxLength: 100, description: 'Name or id of a role of the tenant' }),
})
export const TenantCreateBody = Body({
  name: Line({ maxLength: 100 }),
  role: RoleBody.properties.role,
  serviceType: ServiceType(),
  metadata: Type.Optional(Metadata()),
})
export const TenantPatchBody = Body(
  { ...PatchBody.properties, role: Type.Optional(RoleBody.properties.role) },
  { minProperties: 1 },
)

const fields = {
  id: Id(),
  clientId: Id(),
  name: Type.String(),
  email: Type.String(),
  serviceType: Type.String(),
  metadata: Type.Record(Type.String(), Type.String()),
  disabled: Type.Boolean(),
  tenantId: Nullable(Id()),
  role: Nullable(Type.String({ description: "In the tenant that keeps it; null for the platform's own" })),
  secrets: Type.Array(Type.Object({ createdAt: Time(), expiresAt: Nullable(Time()) })),
  createdAt: Time(),
  lastUsedAt: Nullable(Time()),
}
export const SystemUserView = Type.Object(fields, { title: 'SystemUser' })
export const NewSecretView = Type.Object(
  { ...fields, clientSecret: Type.String({ description: 'Shown this once' }) },
  { title: 'SystemUserWithSecret' },
)
export const RevokedView = Type.Object({ revoked: Type.Integer() }, { title: 'RevokedSecrets' })

export const toSystemUserView = (row: SystemUser): Static<typeof SystemUserView> => ({
  id: row.id,
  clientId: row.id,
  name: row.first_name,
  email: row.email,
  serviceType: row.service_type,
  metadata: row.metadata as Record<string, string>,
  disabled: row.disabled_at !== null,
  tenantId: row.tenant_id,
  role: row.role,
  secrets: row.secrets.map(({ created_at, expires_at }) => ({
    createdAt: created_at.toISOString(),
    expiresAt: expires_at?.toISOString() ?? null,
  })),
  createdAt: row.created_at.toISOString(),
  lastUsedAt: row.last_used_at?.toISOString() ?? null,
})
