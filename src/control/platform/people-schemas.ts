import { type Static, Type } from 'typebox'
import { PageQuery } from '../../http/paging.ts'
import { Body, Email, Id, Line, Nullable, Time } from '../../http/schemas.ts'
import type { MemberTenant } from '../../master/memberships.ts'
import { toUserView, UserView } from '../auth/schemas.ts'
import { TenantChoice, toTenantChoice } from '../tenants/tenant-view.ts'
import type { ListedPerson } from './people-queries.ts'

export const AdminsQuery = Type.Object({
  ...PageQuery.properties,
  q: Type.Optional(Line({ maxLength: 100, description: 'Part of the email address or the name' })),
  email: Type.Optional(Line({ maxLength: 254, description: 'The whole email address' })),
  disabled: Type.Optional(Type.Boolean()),
})
export const PeopleQuery = Type.Object({
  ...AdminsQuery.properties,
  platformAdmin: Type.Optional(Type.Boolean()),
})

/** Without a body, no reason is noted. */
export const ReasonBody = Nullable(
  Body({ reason: Type.Optional(Line({ maxLength: 500, description: 'For the audit log' })) }),
)

export const AdminBody = Body(
  { userId: Type.Optional(Id()), email: Type.Optional(Email()) },
  { minProperties: 1, maxProperties: 1 },
)

const fields = {
  ...UserView.properties,
  disabled: Type.Boolean(),
  disabledAt: Nullable(Time()),
  tenantCount: Type.Integer({ description: 'Tenants of which the person is an active member' }),
  sessionCount: Type.Integer({ description: 'Sessions that are alive' }),
  lastUsedAt: Nullable({ ...Time(), description: 'When one of the sessions was last used' }),
}
export const PersonView = Type.Object(fields, { title: 'PlatformUser' })
export const PersonDetail = Type.Object(
  { ...fields, tenants: Type.Array(TenantChoice) },
  { title: 'PlatformUserDetail' },
)
export const EndedView = Type.Object({ ended: Type.Integer() }, { title: 'EndedSessions' })

export const toPersonView = (row: ListedPerson): Static<typeof PersonView> => ({
  ...toUserView(row),
  disabled: row.disabled_at !== null,
  disabledAt: row.disabled_at?.toISOString() ?? null,
  tenantCount: Number(row.tenants),
  sessionCount: Number(row.sessions),
  lastUsedAt: row.last_used_at?.toISOString() ?? null,
})

export const toPersonDetail = (
  row: ListedPerson,
  tenants: readonly MemberTenant[],
): Static<typeof PersonDetail> => ({ ...toPersonView(row), tenants: tenants.map(toTenantChoice) })
