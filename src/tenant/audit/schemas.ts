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

const Position = () => Type.Integer({ minimum: 0 })
const Hash = () => Type.String({ description: 'SHA-256, as hex' })

export const CheckpointView = Type.Object(
  {
    tenantId: Id(),
    position: Position(),
    hash: Hash(),
    at: Time(),
    checkpoint: Type.String({ description: 'The same, signed: a JWS (RFC 7515, EdDSA)' }),
    prunedTo: Type.Integer({
      minimum: 0,
      description: 'Entries up to here were removed when their time was over',
    }),
    pruned: Nullable(
      Type.String({ description: 'The place where the log begins since then, signed: a JWS' }),
    ),
  },
  { title: 'AuditCheckpoint' },
)

export const VerifiedView = Type.Object(
  {
    ok: Type.Boolean(),
    verified: Type.Integer({ description: 'Entries whose hash was computed again' }),
    unsealed: Type.Integer({ description: 'Entries that are not sealed yet: nothing is proved about these' }),
    head: Type.Object({ position: Position(), hash: Nullable(Hash()) }),
    checkpoint: Nullable(CheckpointView),
    problems: Type.Array(
      Type.Object({
        kind: Type.String({
          description:
            'altered; missing; added (pretends to be older than the last seal); cut (the end is gone); rewritten (not the chain that was signed)',
        }),
        position: Nullable(Position()),
        entryId: Nullable(Id()),
      }),
      { description: 'The first hundred' },
    ),
  },
  { title: 'AuditVerification' },
)
