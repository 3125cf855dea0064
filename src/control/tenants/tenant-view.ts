import { type Static, Type } from 'typebox'
import type { MemberScope } from '../../http/guards.ts'
import { Id, Nullable, Time } from '../../http/schemas.ts'
import type { MemberTenant } from '../../master/memberships.ts'

const FreeForm = Type.Record(Type.String(), Type.Unknown())

/** What the tenant keeps about itself, in its own database. */
export type TenantSettings = { settings: Record<string, unknown>; metadata: Record<string, unknown> }

/**
 * Reads a tenant's settings from its own database. Answers undefined while that can't be asked (suspended, still being
 * built, unreachable), so that signing in and listing tenants work all the same.
 */
export type ReadTenantSettings = (tenantId: string) => Promise<TenantSettings | undefined>

/** Replaces settings or metadata in the tenant's own database, with an audit entry there. */
export type WriteTenantSettings = (
  tenantId: string,
  who: Pick<MemberScope, 'actor' | 'caller'>,
  change: Partial<TenantSettings>,
) => Promise<void>

/** A database that was just handed to its tenant holds these. */
export const newTenantSettings: TenantSettings = { settings: {}, metadata: {} }

export const TenantStatus = Type.Union([
  Type.Literal('pending'),
  Type.Literal('active'),
  Type.Literal('suspended'),
  Type.Literal('deleted'),
])

export const TenantView = Type.Object(
  {
    id: Id(),
    slug: Type.String(),
    name: Type.String(),
    status: TenantStatus,
    plan: Type.String(),
    region: Type.String(),
    tier: Type.String(),
    logoUrl: Nullable(Type.String()),
    settings: Nullable({ ...FreeForm, description: "Null while the tenant's database can't be asked" }),
    metadata: Nullable(FreeForm),
    createdAt: Time(),
  },
  { title: 'Tenant' },
)
export type TenantView = Static<typeof TenantView>

type TenantRow = Omit<MemberTenant, 'role'>

export const toTenantView = (row: TenantRow, kept: TenantSettings | undefined): TenantView => ({
  id: row.id,
  slug: row.slug,
  name: row.name,
  status: row.status,
  plan: row.plan,
  region: row.region,
  tier: row.tier,
  logoUrl: row.logo_url,
  settings: kept?.settings ?? null,
  metadata: kept?.metadata ?? null,
  createdAt: row.created_at.toISOString(),
})

/** A tenant in the list that a session carries: enough to choose one. */
export const TenantChoice = Type.Object(
  { id: Id(), slug: Type.String(), name: Type.String(), status: TenantStatus, role: Type.String() },
  { title: 'TenantChoice' },
)

export const toTenantChoice = (row: MemberTenant): Static<typeof TenantChoice> => ({
  id: row.id,
  slug: row.slug,
  name: row.name,
  status: row.status,
  role: row.role,
})
