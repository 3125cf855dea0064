import { type Static, Type } from 'typebox'
import { PageQuery } from '../../http/paging.ts'
import { Body, Email, Id, Line, Nullable, Time } from '../../http/schemas.ts'
import type { Member } from './queries.ts'

export const MemberStatus = Type.Union([
  Type.Literal('active'),
  Type.Literal('inactive'),
  Type.Literal('pending'),
])

export const RoleName = () => Line({ maxLength: 100, description: 'Name or id of a role of the tenant' })

export const AddBody = Body({ email: Email(), role: RoleName() })

export const ChangeBody = Body(
  { role: Type.Optional(RoleName()), status: Type.Optional(MemberStatus) },
  { minProperties: 1 },
)

export const MemberQuery = Type.Object({
  ...PageQuery.properties,
  q: Type.Optional(
    Line({ maxLength: 100, description: 'A part of the email address or of the name, in any case' }),
  ),
  status: Type.Optional(MemberStatus),
})

export const MemberParams = Type.Object({ userId: Id() })

export const MemberView = Type.Object(
  {
    userId: Id(),
    email: Type.String(),
    emailVerified: Type.Boolean({ description: 'Whether they have proved that the address is theirs' }),
    firstName: Type.String(),
    lastName: Nullable(Type.String()),
    role: Type.String(),
    roleId: Id(),
    status: MemberStatus,
    createdAt: Time(),
    updatedAt: Time(),
  },
  { title: 'Member' },
)

export const toMemberView = (row: Member): Static<typeof MemberView> => ({
  userId: row.id,
  email: row.email,
  emailVerified: row.email_verified_at !== null,
  firstName: row.first_name,
  lastName: row.last_name,
  role: row.role,
  roleId: row.role_id,
  status: row.status,
  createdAt: row.created_at.toISOString(),
  updatedAt: row.updated_at.toISOString(),
})
