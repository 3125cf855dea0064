import { type Static, Type } from 'typebox'
import { PageQuery } from '../../http/paging.ts'
import { Id, Line, Nullable, Time } from '../../http/schemas.ts'

const When = (description: string) => Type.Optional({ ...Time(), description })

const filters = {
  action: Type.Optional(Line({ maxLength: 100, description: 'Such as project.created' })),
  actorId: Type.Optional(Id()),
  entityType: Type.Optional(Line({ maxLength: 100 })),
  entityId: Type.Optional(Id()),
  workspaceId: Type.Optional(Id()),
  from: When('RFC 3339, with any offset'),
  to: When('Until then, itself left out'),
}

export const AuditFilters = Type.Object(filters)
export const AuditQuery = Type.Object({ ...PageQuery.properties, ...filters })
export type AuditFilter = Static<typeof AuditFilters>

const FreeForm = Type.Record(Type.String(), Type.Unknown())

export const AuditEntryView = Type.Object(
  {
    id: Id(),
    at: Time(),
    actorKind: Type.String({
      description:
        'person, system_user, platform_admin, operator (the command line) or system (Freehold itself)',
    }),
    actorId: Nullable(Id()),
    action: Type.String(),
    entityType: Type.String(),
    entityId: Nullable(Id()),
    workspaceId: Nullable(Id()),
    before: Nullable(FreeForm),
    after: Nullable(FreeForm),
    details: Nullable(FreeForm),
    address: Nullable(Type.String()),
    userAgent: Nullable(Type.String()),
    requestId: Nullable(Type.String()),
    position: Nullable(Type.Integer({ description: 'In the chain of hashes; null until it is sealed' })),
    hash: Nullable(Type.String({ description: 'SHA-256, as hex' })),
  },
  { title: 'AuditEntry' },
)
