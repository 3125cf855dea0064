import { Type } from 'typebox'
import { Body, Email, Id, Line, Nullable, Slug, Time } from '../../http/schemas.ts'

const PlanKey = () =>
  Type.String({ minLength: 1, maxLength: 63, description: 'Key of a plan; default: free' })

export const CreateTenantBody = Body({
  name: Line({ maxLength: 200 }),
  slug: Type.Optional(Slug()),
  plan: Type.Optional(PlanKey()),
  region: Type.Optional(
    Line({ maxLength: 63, description: 'Where the database shall be; default: wherever there is room' }),
  ),
  tier: Type.Optional(Type.Literal('shared')),
})

export const TenantParams = Type.Object({
  tenant: Type.String({ minLength: 1, maxLength: 63, description: 'Id or slug' }),
})

const FreeForm = (what: string) =>
  Type.Record(Type.String(), Type.Unknown(), {
    maxProperties: 200,
    description: `${what}: takes the place of what was there; 64 kB of JSON at most`,
  })

/** Shown to people's browsers and never fetched by us; without a user name, which would be a secret or a trick. */
const LogoUrl = () =>
  Type.String({
    format: 'uri',
    maxLength: 2000,
    pattern: '^https://[^/?#@\\\\\\s]+([/?#]\\S*)?$',
    description: 'An https address',
  })

const face = { name: Type.Optional(Line({ maxLength: 200 })), logoUrl: Type.Optional(Nullable(LogoUrl())) }

export const ChangeTenantBody = Body(
  {
    ...face,
    settings: Type.Optional(FreeForm('Settings')),
    metadata: Type.Optional(FreeForm('Metadata')),
  },
  { minProperties: 1 },
)

export const DeletedView = Type.Object(
  { id: Id(), status: Type.Literal('deleted'), purgeAfter: Time() },
  { title: 'DeletedTenant' },
)

export const ManagedTenantBody = Body({
  name: Line({ maxLength: 200 }),
  slug: Slug(),
  adminEmail: Email(),
  plan: Type.Optional(PlanKey()),
  region: Type.Optional(Line({ maxLength: 63 })),
  tier: Type.Optional(
    Type.Union([Type.Literal('shared'), Type.Literal('dedicated'), Type.Literal('external')]),
  ),
})

export const PlatformChangeBody = Body({ ...face, slug: Type.Optional(Slug()) }, { minProperties: 1 })
