import { type Static, Type } from 'typebox'
import { Body, Email, Id, Line, Nullable, Password, Time } from '../../http/schemas.ts'
import type { Person } from '../../master/people.ts'
import { TenantChoice, TenantView } from '../tenants/tenant-view.ts'

export const RegisterBody = Body({
  email: Email(),
  password: Password(),
  firstName: Line({ maxLength: 100 }),
  lastName: Type.Optional(Line({ maxLength: 100 })),
})

const IdOrSlug = () => Line({ maxLength: 63, description: 'Id or slug of a tenant' })

export const LoginBody = Body({
  email: Type.String({ minLength: 1, maxLength: 254 }),
  // Not the rules for new passwords: what was right once must go on working.
  password: Type.String({ minLength: 1, maxLength: 256 }),
  tenant: Type.Optional(IdOrSlug()),
})

export const RefreshBody = Body({ refreshToken: Type.String({ minLength: 1, maxLength: 4096 }) })

export const SwitchBody = Body({ tenant: Nullable(IdOrSlug()) })

export const UserView = Type.Object(
  {
    id: Id(),
    email: Type.String(),
    firstName: Type.String(),
    lastName: Nullable(Type.String()),
    emailVerified: Type.Boolean(),
    platformAdmin: Type.Boolean(),
    createdAt: Time(),
  },
  { title: 'User' },
)

export const toUserView = (person: Person): Static<typeof UserView> => ({
  id: person.id,
  email: person.email,
  firstName: person.first_name,
  lastName: person.last_name,
  emailVerified: person.email_verified_at !== null,
  platformAdmin: person.platform_admin,
  createdAt: person.created_at.toISOString(),
})

const tokens = {
  accessToken: Type.String(),
  refreshToken: Type.String(),
  tokenType: Type.Literal('Bearer'),
  expiresIn: Type.Integer({ description: 'Seconds until the access token expires' }),
}
const place = {
  tenant: Nullable(TenantView),
  role: Nullable(Type.String()),
  permissions: Type.Array(Type.String()),
}

export const TokensView = Type.Object(tokens, { title: 'Tokens' })
export const SwitchView = Type.Object({ ...tokens, ...place }, { title: 'Switched' })
export const SessionView = Type.Object(
  { user: UserView, ...place, tenants: Type.Array(TenantChoice), ...tokens },
  { title: 'Session' },
)
export const ContextView = Type.Object(
  {
    user: UserView,
    ...place,
    tenants: Type.Array(TenantChoice),
    session: Type.Object({
      id: Id(),
      createdAt: Time(),
      expiresAt: Time(),
      address: Nullable(Type.String()),
      userAgent: Nullable(Type.String()),
    }),
  },
  { title: 'Context' },
)
