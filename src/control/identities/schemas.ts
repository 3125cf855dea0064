import { type Static, Type } from 'typebox'
import { Body, Id, Line, Nullable, Time } from '../../http/schemas.ts'
import { type SignInProvider, sameIssuer } from '../../kernel/sign-in-providers.ts'
import type { IdentityRow } from './queries.ts'
import { maxReturnTo } from './return-to.ts'

const ReturnTo = () =>
  Type.String({
    minLength: 1,
    maxLength: maxReturnTo,
    description: 'Where to go afterwards: a path of ours, or an address at an origin in RETURN_ORIGINS',
  })

/** SHA-256 in base64url, as a PKCE challenge (RFC 7636). */
const Challenge = () =>
  Type.String({
    pattern: '^[A-Za-z0-9_-]{43}$',
    description: 'SHA-256 of a verifier that the exchange must then bring, in base64url',
  })

export const StartQuery = Type.Object({
  returnTo: Type.Optional(ReturnTo()),
  challenge: Type.Optional(Challenge()),
  mode: Type.Optional(
    Type.Union([Type.Literal('bearer'), Type.Literal('cookie')], {
      description: 'cookie: the tokens come in cookies with the last answer, and returnTo gets no code',
    }),
  ),
  invitationToken: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 200,
      description:
        "From an invitation's link: a new account with its address joins the tenant, also where nobody else may sign up",
    }),
  ),
  ticket: Type.Optional(
    Type.String({
      maxLength: 4096,
      description: 'From POST /auth/identities: connects instead of signing in',
    }),
  ),
})

const Answer = () => Type.Optional(Type.String({ maxLength: 4096 }))
/** Providers add parameters of their own. */
export const CallbackQuery = Type.Object({ state: Answer(), code: Answer(), iss: Answer(), error: Answer() })

export const ExchangeBody = Body({
  code: Type.String({ minLength: 1, maxLength: 200, description: 'From behind the # of returnTo' }),
  verifier: Type.Optional(Type.String({ minLength: 43, maxLength: 128, pattern: '^[A-Za-z0-9._~-]*$' })),
})

export const BeginLinkBody = Body({ provider: Line({ maxLength: 63 }), returnTo: ReturnTo() })
export const BegunView = Type.Object(
  {
    url: Type.String({ description: 'Send the browser there within five minutes' }),
    expiresAt: Time(),
  },
  { title: 'LinkBegun' },
)
export const FinishLinkBody = Body({ code: Type.String({ minLength: 1, maxLength: 4096 }) })
export const ConfirmBody = Body({
  token: Type.String({ minLength: 1, maxLength: 200, description: 'From the link in a mail' }),
})
export const ConfirmedView = Type.Object(
  { email: Type.String(), next: Type.Literal('sign_in') },
  { title: 'IdentityConfirmed' },
)

export const IdentityView = Type.Object(
  {
    id: Id(),
    provider: Nullable(Type.String({ description: 'Null when it is not set up here any more' })),
    label: Type.String(),
    issuer: Type.String(),
    email: Nullable(Type.String({ description: 'The address there when it was connected' })),
    createdAt: Time(),
    lastUsedAt: Nullable(Time()),
  },
  { title: 'Identity' },
)

export const toIdentityView = (
  row: IdentityRow,
  providers: readonly Pick<SignInProvider, 'name' | 'label' | 'issuer'>[],
): Static<typeof IdentityView> => {
  const provider = providers.find(({ issuer }) => sameIssuer(issuer, row.issuer))
  return {
    id: row.id,
    provider: provider?.name ?? null,
    label: provider?.label ?? new URL(row.issuer).host,
    issuer: row.issuer,
    email: row.email,
    createdAt: row.created_at.toISOString(),
    lastUsedAt: row.last_used_at?.toISOString() ?? null,
  }
}

export const AuthConfigView = Type.Object(
  {
    providers: Type.Array(
      Type.Object({ name: Type.String(), label: Type.String(), url: Type.String() }, { title: 'Provider' }),
    ),
    signUp: Type.Union([Type.Literal('open'), Type.Literal('invited'), Type.Literal('closed')]),
    verifyEmail: Type.Union([Type.Literal('before'), Type.Literal('after')]),
  },
  { title: 'AuthConfig' },
)
