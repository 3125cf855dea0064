import { type Static, Type } from 'typebox'
import { Body, Email, Id, Nullable, Time } from '../../http/schemas.ts'
import { RoleName } from '../members/schemas.ts'
import { TenantChoice } from '../tenants/tenant-view.ts'
import { nameOf } from './flows.ts'
import type { Invitation } from './queries.ts'

export const InviteBody = Body({ email: Email(), role: RoleName() })

export const TokenParams = Type.Object({
  token: Type.String({ minLength: 1, maxLength: 200, description: 'From the link in the mail' }),
})

export const AnswerParams = Type.Object({
  token: Type.String({
    minLength: 1,
    maxLength: 200,
    description: 'From the link in the mail, or the id of an invitation in GET /invitations',
  }),
})

export const InvitationView = Type.Object(
  {
    id: Id(),
    email: Type.String(),
    role: Type.String(),
    roleId: Id(),
    status: Type.Union([Type.Literal('open'), Type.Literal('expired')]),
    invitedBy: Nullable(Type.Object({ id: Id(), name: Type.String() })),
    createdAt: Time(),
    sentAt: Time(),
    expiresAt: Time(),
  },
  { title: 'Invitation' },
)

/** As the tenant's members see it. */
export const toInvitationView = (row: Invitation): Static<typeof InvitationView> => ({
  id: row.id,
  email: row.email,
  role: row.role,
  roleId: row.role_id,
  status: row.expired ? 'expired' : 'open',
  invitedBy: row.invited_by === null ? null : { id: row.invited_by, name: giverOf(row) },
  createdAt: row.created_at.toISOString(),
  sentAt: row.sent_at.toISOString(),
  expiresAt: row.expires_at.toISOString(),
})

const TenantFace = Type.Object({ name: Type.String(), logoUrl: Nullable(Type.String()) })
const face = { tenant: TenantFace, inviter: Type.Object({ name: Type.String() }), role: Type.String() }

export const PublicInvitationView = Type.Object(
  {
    ...face,
    email: Type.String({ description: 'The address it was sent to, mostly hidden' }),
    expiresAt: Time(),
  },
  { title: 'PublicInvitation' },
)

export const MyInvitationView = Type.Object(
  { id: Id(), ...face, email: Type.String(), createdAt: Time(), expiresAt: Time() },
  { title: 'MyInvitation' },
)

export const AcceptedInvitationView = Type.Object({ tenant: TenantChoice }, { title: 'AcceptedInvitation' })

const giverOf = (row: Invitation): string =>
  nameOf({ first_name: row.giver_first_name, last_name: row.giver_last_name })

const faceOf = (row: Invitation) => ({
  tenant: { name: row.tenant_name, logoUrl: row.tenant_logo_url },
  inviter: { name: giverOf(row) },
  role: row.role,
})

/** The first letter and the domain: enough for its owner to know it, too little to write to it. */
export const maskEmail = (email: string): string => {
  const [first = ''] = email
  return `${first}•••${email.slice(email.lastIndexOf('@'))}`
}

/** As whoever holds the link sees it. */
export const toPublicView = (row: Invitation): Static<typeof PublicInvitationView> => ({
  ...faceOf(row),
  email: maskEmail(row.email),
  expiresAt: row.expires_at.toISOString(),
})

/** As the owner of the address sees it. */
export const toMyView = (row: Invitation): Static<typeof MyInvitationView> => ({
  id: row.id,
  ...faceOf(row),
  email: row.email,
  createdAt: row.created_at.toISOString(),
  expiresAt: row.expires_at.toISOString(),
})
