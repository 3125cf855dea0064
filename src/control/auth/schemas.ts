import { type Static, Type } from 'typebox'
import { Body, Email, Id, Line, Nullable, Password, Time } from '../../http/schemas.ts'
import type { Person } from '../../master/people.ts'
import { TenantChoice, TenantView } from '../tenants/tenant-view.ts'

export const RegisterBody = Body({
  email: Email(),
  password: Password(),
  firstName: Line({ maxLength: 100 }),
  lastName: Type.Optional(Line({ maxLength: 100 })),
  invitationToken: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 200,
      description:
        'From the link of an invitation to this address: proves it, and makes the account a member',
    }),
  ),
})

const IdOrSlug = () => Line({ maxLength: 63, description: 'Id or slug of a tenant' })

export const LoginBody = Body({
  email: Type.String({ minLength: 1, maxLength: 254 }),
  // Not the rules for new passwords: what was right once must go on working.
  password: Type.String({ minLength: 1, maxLength: 256 }),
  tenant: Type.Optional(IdOrSlug()),
})

/** With the cookie instead, there is no body. */
export const RefreshBody = Nullable(
  Body({ refreshToken: Type.Optional(Type.String({ minLength: 1, maxLength: 4096 })) }),
)

/** Where a session is opened or refreshed. */
export const ModeHeaders = Type.Object({
  'x-auth-mode': Type.Optional(
    Type.Union([Type.Literal('bearer'), Type.Literal('cookie')], {
      description: 'cookie: the tokens come, and for a refresh go, in cookies that no script can read',
    }),
  ),
})

export const EmailBody = Body({ email: Email() })

/** Without a body, the signed-in person's own address is meant. */
export const ResendBody = Nullable(EmailBody)

const MailedToken = () =>
  Type.String({ minLength: 1, maxLength: 200, description: 'From the link in a mail' })

export const VerifyBody = Body({ token: MailedToken() })
export const ResetBody = Body({ token: MailedToken(), password: Password() })
export const PasswordBody = Body({
  currentPassword: Type.String({ minLength: 1, maxLength: 256 }),
  newPassword: Password(),
})
export const ProfileBody = Body(
  {
    firstName: Type.Optional(Line({ maxLength: 100 })),
    lastName: Type.Optional(Nullable(Line({ maxLength: 100 }))),
  },
  { minProperties: 1 },
)

export const SwitchBody = Body({
  tenant: Nullable(IdOrSlug()),
  reason: Type.Optional(
    Line({
      maxLength: 500,
      description: 'Of a platform admin who is no member of the tenant: its Admins get it by mail',
    }),
  ),
})

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

type UserRow = Pick<
  Person,
  'id' | 'email' | 'first_name' | 'last_name' | 'email_verified_at' | 'platform_admin' | 'created_at'
>

export const toUserView = (person: UserRow): Static<typeof UserView> => ({
  id: person.id,
  email: person.email,
  firstName: person.first_name,
  lastName: person.last_name,
  emailVerified: person.email_verified_at !== null,
  platformAdmin: person.platform_admin,
  createdAt: person.created_at.toISOString(),
})

const expiresIn = Type.Integer({ description: 'Seconds until the access token expires' })
const tokens = {
  accessToken: Type.String(),
  refreshToken: Type.String(),
  tokenType: Type.Literal('Bearer'),
  expiresIn,
}
const csrfToken = Type.String({ description: 'For the header x-csrf-token, as long as the session lives' })
/** In place of the tokens, when those are in cookies. */
const inCookies = { csrfToken, expiresIn }
const place = {
  tenant: Nullable(TenantView),
  role: Nullable(Type.String()),
  permissions: Type.Array(Type.String()),
}

export const TokensView = Type.Union([
  Type.Object(tokens, { title: 'Tokens' }),
  Type.Object(inCookies, { title: 'TokensInCookies' }),
])
export const SwitchView = Type.Union([
  Type.Object({ ...tokens, ...place }, { title: 'Switched' }),
  Type.Object({ ...inCookies, ...place }, { title: 'SwitchedInCookies' }),
])
const signedIn = { user: UserView, ...place, tenants: Type.Array(TenantChoice) }
export const SessionView = Type.Union([
  Type.Object({ ...signedIn, ...tokens }, { title: 'Session' }),
  Type.Object({ ...signedIn, ...inCookies }, { title: 'SessionInCookies' }),
])
const { refreshToken: _, ...withoutRefresh } = tokens
export const LoginView = Type.Union([
  ...SessionView.anyOf,
  Type.Object({ ...signedIn, ...withoutRefresh }, { title: 'SystemSession' }),
])
const session = {
  id: Id(),
  createdAt: Time(),
  lastUsedAt: Time(),
  expiresAt: Time(),
  authenticatedAt: Time(),
  amr: Type.Array(Type.String(), { description: 'How the person proved who they are (RFC 8176)' }),
  device: Type.String(),
  address: Nullable(Type.String()),
  userAgent: Nullable(Type.String()),
}
export const ContextView = Type.Object(
  { ...signedIn, session: Type.Object(session), csrfToken: Type.Optional(csrfToken) },
  { title: 'Context' },
)
export const SessionItem = Type.Object(
  { ...session, current: Type.Boolean({ description: 'The session that asks' }) },
  { title: 'OwnSession' },
)

/** The same for every address: whether there is an account, only its owner learns. */
export const AcceptedView = Type.Object({ message: Type.String() }, { title: 'Accepted' })
export const VerifiedView = Type.Object(
  {
    email: Type.String(),
    emailVerified: Type.Literal(true),
    next: Type.Union([Type.Literal('sign_in'), Type.Literal('choose_password')], {
      description: 'choose_password: another mail with a link for that is on its way',
    }),
  },
  { title: 'Verified' },
)
