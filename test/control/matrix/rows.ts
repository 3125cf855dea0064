import type { Permission } from '../../../src/access/catalogue.ts'
import type { ErrorCode } from '../../../src/kernel/errors.ts'

/** Whom a route admits, as its rule must say. */
export type May = Permission | 'any member' | 'public' | 'person' | 'person or system user' | 'platform admin'

/** A status below 400, or the code of the handler's own refusal. */
export type Outcome = number | ErrorCode

export type Row = Readonly<{
  route: string
  may: May
  /** What those get whom the rule admits. With a code, the ids in the path are nobody's. */
  outcome: Outcome
  /** What everybody who sends a token gets from a route that reads the Authorization header for itself. */
  withToken?: Outcome
  /** What the handler asks of a member of the tenant in the path, where the rule can't. */
  inside?: Permission
  /** Texts like `{role}` are ids of objects of the Admin's tenant, `{new}` is a text that was not there before. */
  body?: object
  /** Whose ids stand in the path, in order: every route of a tenant with an id says so. */
  of?: readonly Aim[]
  /** The address, where it is more than the path with ids. */
  url?: string
  /** Ends the caller's session; asked last, and by sessions of its own. */
  ends?: true
}>

/** What every tenant of the test has one of; `tenant` is itself. */
export type Aim =
  | 'tenant'
  | 'workspace'
  | 'user'
  | 'workspaceMember'
  | 'project'
  | 'job'
  | 'schedule'
  | 'member'
  | 'invitation'
  | 'role'
  | 'policy'
  | 'heldPolicy'
  | 'systemUser'
  | 'permission'

const row = (
  route: string,
  may: May,
  outcome: Outcome,
  more: Omit<Row, 'route' | 'may' | 'outcome'> = {},
): Row => ({
  route,
  may,
  outcome,
  ...more,
})

const name = '{new}'
const email = '{new}@example.com'
const token = 'no-such-token-in-the-whole-world'
const password = 'correct horse battery'
const serviceType = 'test'

/** Every route of Freehold and who may call it. A new route needs a row; `npm run routes` then writes docs/routes.md. */
export const rows: readonly Row[] = [
  row('GET /', 'public', 200),
  row('GET /health', 'public', 200),
  row('GET /health/ready', 'public', 200),
  row('GET /metrics', 'public', 200, { withToken: 'unauthenticated' }),
  row('GET /.well-known/jwks.json', 'public', 200),
  row('GET /.well-known/audit-keys.json', 'public', 200),
  row('GET /docs', 'public', 200),
  row('GET /docs/json', 'public', 200),
  row('GET /docs/assets/swagger-ui.css', 'public', 200),
  row('GET /docs/assets/swagger-ui-bundle.js', 'public', 200),
  row('GET /docs/assets/start.js', 'public', 200),

  row('POST /auth/register', 'public', 201, { body: { email, password, firstName: 'X' } }),
  row('POST /auth/login', 'public', 'invalid_credentials', { body: { email, password } }),
  row('POST /auth/refresh', 'public', 'unauthenticated', { body: { refreshToken: token } }),
  row('POST /auth/token', 'public', 'invalid_credentials', {
    withToken: 'validation_failed',
    body: { grant_type: 'client_credentials', client_id: email, client_secret: token },
  }),
  row('POST /auth/password/forgot', 'public', 202, { body: { email } }),
  row('POST /auth/password/reset', 'public', 'gone', { body: { token, password } }),
  row('POST /auth/email/verify', 'public', 'gone', { body: { token } }),
  row('POST /auth/email/resend', 'public', 202, { body: { email } }),
  row('GET /auth/email/verify', 'public', 200),
  row('GET /auth/email/resend', 'public', 200),
  row('GET /auth/password/reset', 'public', 200),
  row('GET /auth/password/forgot', 'public', 200),
  row('GET /auth/identities/confirm', 'public', 200),
  row('GET /auth/invitation', 'public', 200),
  row('GET /auth/google', 'public', 'not_found'),
  row('GET /auth/google/callback', 'public', 'not_found'),
  row('POST /auth/exchange', 'public', 'gone', { body: { code: token } }),
  row('GET /auth/config', 'public', 200),
  row('POST /auth/identities/confirm', 'public', 'gone', { body: { token } }),
  row('GET /invitations/:token', 'public', 'not_found'),

  row('GET /auth/context', 'person or system user', 200),
  row('POST /auth/switch', 'person', 200, { body: { tenant: null } }),
  row('PUT /auth/password', 'person', 204, { body: { currentPassword: password, newPassword: password } }),
  row('GET /auth/me', 'person', 200),
  row('PATCH /auth/me', 'person', 200, { body: { firstName: 'X' } }),
  row('GET /auth/sessions', 'person', 200),
  row('DELETE /auth/sessions/:id', 'person', 'not_found'),
  row('GET /auth/identities', 'person', 200),
  row('POST /auth/identities', 'person', 'not_found', {
    body: { provider: 'nobody', returnTo: 'http://localhost:4000/' },
  }),
  row('POST /auth/identities/link', 'person', 'gone', { body: { code: token } }),
  row('DELETE /auth/identities/:id', 'person', 'not_found'),
  row('POST /auth/logout', 'person or system user', 204, { ends: true }),
  row('POST /auth/logout-all', 'person', 204, { ends: true }),
  row('POST /tenants', 'person', 'slug_taken', { body: { name, slug: '{slug}' } }),
  row('GET /tenants', 'person', 200),
  row('GET /tenants/:tenant', 'person', 200, { of: ['tenant'] }),
  row('PATCH /tenants/:tenant', 'person', 200, {
    of: ['tenant'],
    inside: 'tenant-api:tenant:update',
    body: { name },
  }),
  row('DELETE /tenants/:tenant', 'person', 'not_found', { of: ['tenant'] }),
  row('GET /tenants/:tenant/status', 'person', 200, { of: ['tenant'] }),
  row('POST /tenants/:tenant/leave', 'person', 'not_found', { of: ['tenant'] }),
  row('GET /plans', 'person', 200),
  row('GET /invitations', 'person', 200),
  row('POST /invitations/:token/accept', 'person', 'not_found'),
  row('POST /invitations/:token/decline', 'person', 'not_found'),

  row('POST /api/authorize', 'any member', 200, { body: { permission: 'tenant-api:project:read' } }),
  row('POST /api/authorize/batch', 'any member', 200, {
    body: { checks: [{ permission: 'tenant-api:project:read' }] },
  }),
  row('GET /api/permissions', 'tenant-api:permission:read', 200),

  row('GET /api/tenant', 'tenant-api:tenant:read', 200),
  row('PATCH /api/tenant', 'tenant-api:tenant:update', 200, { body: { name } }),

  row('GET /api/tenant/usage', 'tenant-api:billing:read', 200),
  row('GET /api/tenant/subscription', 'tenant-api:billing:read', 200),
  row('PUT /api/tenant/subscription', 'tenant-api:billing:update', 200, { body: { plan: 'free' } }),
  row('GET /api/analytics/summary', 'tenant-api:analytics:read', 200),

  row('GET /api/users', 'tenant-api:user:read', 200),
  row('POST /api/users', 'tenant-api:user:create', 201, { body: { email, firstName: 'X' } }),
  row('GET /api/users/count', 'tenant-api:user:read', 200),
  row('GET /api/users/:id', 'tenant-api:user:read', 200, { of: ['user'] }),
  row('PUT /api/users/:id', 'tenant-api:user:update', 200, {
    of: ['user'],
    body: { email, firstName: 'X' },
  }),
  row('PATCH /api/users/:id', 'tenant-api:user:update', 200, { of: ['user'], body: { firstName: 'X' } }),
  row('DELETE /api/users/:id', 'tenant-api:user:delete', 'not_found', { of: ['user'] }),

  row('GET /api/workspaces', 'tenant-api:workspace:read', 200),
  row('POST /api/workspaces', 'tenant-api:workspace:create', 201, { body: { name } }),
  row('GET /api/workspaces/:id', 'tenant-api:workspace:read', 200, { of: ['workspace'] }),
  row('PATCH /api/workspaces/:id', 'tenant-api:workspace:update', 200, { of: ['workspace'], body: { name } }),
  row('GET /api/workspaces/:id/members', 'tenant-api:workspace:read', 200, { of: ['workspace'] }),
  row('PUT /api/workspaces/:id/members/:userId', 'tenant-api:workspace:update', 200, {
    of: ['workspace', 'user'],
    body: { role: 'viewer' },
  }),
  row('DELETE /api/workspaces/:id/members/:userId', 'tenant-api:workspace:update', 'not_found', {
    of: ['workspace', 'workspaceMember'],
  }),
  row('DELETE /api/workspaces/:id', 'tenant-api:workspace:delete', 'not_found', { of: ['workspace'] }),

  row('GET /api/projects', 'tenant-api:project:read', 200),
  row('POST /api/projects', 'tenant-api:project:create', 201, { body: { name } }),
  row('GET /api/projects/:id', 'tenant-api:project:read', 200, { of: ['project'] }),
  row('PATCH /api/projects/:id', 'tenant-api:project:update', 200, { of: ['project'], body: { name } }),
  row('DELETE /api/projects/:id', 'tenant-api:project:delete', 'not_found', { of: ['project'] }),

  row('GET /api/jobs', 'tenant-api:job:read', 200),
  row('POST /api/jobs', 'tenant-api:job:run', 202, { body: { type: 'noop', idempotencyKey: name } }),
  row('GET /api/jobs/:id', 'tenant-api:job:read', 200, { of: ['job'] }),
  row('POST /api/jobs/:id/cancel', 'tenant-api:job:run', 200, { of: ['job'] }),
  row('POST /api/jobs/:id/retry', 'tenant-api:job:run', 202, { of: ['job'] }),
  row('GET /api/audit', 'tenant-api:audit:read', 200),
  row('GET /api/audit/export', 'tenant-api:audit:export', 200),
  row('GET /api/audit/verify', 'tenant-api:audit:read', 200),
  row('GET /api/audit/checkpoint', 'tenant-api:audit:read', 'not_found'),

  row('GET /api/schedules', 'tenant-api:job:read', 200),
  row('POST /api/schedules', 'tenant-api:job:run', 201, { body: { name, type: 'noop', cron: '0 6 * * *' } }),
  row('GET /api/schedules/:id', 'tenant-api:job:read', 200, { of: ['schedule'] }),
  row('PATCH /api/schedules/:id', 'tenant-api:job:run', 200, { of: ['schedule'], body: { name } }),
  row('DELETE /api/schedules/:id', 'tenant-api:job:run', 'not_found', { of: ['schedule'] }),

  row('GET /api/members', 'tenant-api:member:read', 200),
  row('POST /api/members', 'tenant-api:member:create', 'not_found', { body: { email, role: 'Basic' } }),
  row('GET /api/members/:userId', 'tenant-api:member:read', 200, { of: ['member'] }),
  row('PATCH /api/members/:userId', 'tenant-api:member:update', 200, {
    of: ['member'],
    body: { role: 'Basic' },
  }),
  row('DELETE /api/members/:userId', 'tenant-api:member:delete', 'not_found', { of: ['member'] }),

  row('GET /api/invitations', 'tenant-api:invitation:read', 200),
  row('POST /api/invitations', 'tenant-api:invitation:create', 201, { body: { email, role: '{role}' } }),
  row('DELETE /api/invitations/:id', 'tenant-api:invitation:delete', 'not_found', { of: ['invitation'] }),
  row('POST /api/invitations/:id/resend', 'tenant-api:invitation:create', 200, { of: ['invitation'] }),

  row('GET /api/roles', 'tenant-api:role:read', 200),
  row('POST /api/roles', 'tenant-api:role:create', 201, { body: { name, policies: ['{policy}'] } }),
  row('GET /api/roles/:id', 'tenant-api:role:read', 200, { of: ['role'] }),
  row('PATCH /api/roles/:id', 'tenant-api:role:update', 200, { of: ['role'], body: { name } }),
  row('DELETE /api/roles/:id', 'tenant-api:role:delete', 'not_found', { of: ['role'] }),
  row('PUT /api/roles/:id/policies/:policyId', 'tenant-api:role:update', 204, { of: ['role', 'policy'] }),
  row('DELETE /api/roles/:id/policies/:policyId', 'tenant-api:role:update', 'not_found', {
    of: ['role', 'heldPolicy'],
  }),

  row('GET /api/policies', 'tenant-api:policy:read', 200),
  row('POST /api/policies', 'tenant-api:policy:create', 201, { body: { name } }),
  row('GET /api/policies/:id', 'tenant-api:policy:read', 200, { of: ['policy'] }),
  row('PATCH /api/policies/:id', 'tenant-api:policy:update', 200, { of: ['policy'], body: { name } }),
  row('DELETE /api/policies/:id', 'tenant-api:policy:delete', 'not_found', { of: ['policy'] }),
  row('PUT /api/policies/:id/permissions/:permission', 'tenant-api:policy:update', 204, {
    of: ['policy', 'permission'],
  }),
  row('DELETE /api/policies/:id/permissions/:permission', 'tenant-api:policy:update', 'not_found', {
    of: ['policy', 'permission'],
  }),

  row('GET /api/system-users', 'tenant-api:system-user:read', 200),
  row('POST /api/system-users', 'tenant-api:system-user:create', 201, {
    body: { name, serviceType, role: '{role}' },
  }),
  row('GET /api/system-users/:id', 'tenant-api:system-user:read', 200, { of: ['systemUser'] }),
  row('PATCH /api/system-users/:id', 'tenant-api:system-user:update', 200, {
    of: ['systemUser'],
    body: { name },
  }),
  row('DELETE /api/system-users/:id', 'tenant-api:system-user:delete', 'not_found', { of: ['systemUser'] }),
  row('POST /api/system-users/:id/rotate', 'tenant-api:system-user:update', 200, {
    of: ['systemUser'],
    body: { graceDays: 1 },
  }),
  row('POST /api/system-users/:id/revoke-old', 'tenant-api:system-user:update', 200, { of: ['systemUser'] }),

  row('GET /platform/router', 'platform admin', 200),
  row('GET /platform/stats', 'platform admin', 200),
  row('GET /platform/audit', 'platform admin', 200),
  row('GET /platform/operations', 'platform admin', 200),
  row('GET /platform/operations/:id', 'platform admin', 'not_found'),
  row('GET /platform/clusters', 'platform admin', 200),
  row('GET /platform/clusters/:id', 'platform admin', 'not_found'),
  row('GET /platform/databases', 'platform admin', 200),
  row('GET /platform/databases/:id', 'platform admin', 'not_found'),
  row('GET /platform/migrations', 'platform admin', 200),
  row('GET /platform/tenants', 'platform admin', 200),
  row('POST /platform/tenants', 'platform admin', 'slug_taken', {
    body: { name, slug: '{slug}', adminEmail: email },
  }),
  row('GET /platform/tenants/:id', 'platform admin', 'not_found'),
  row('PATCH /platform/tenants/:id', 'platform admin', 'not_found', { body: { name } }),
  row('DELETE /platform/tenants/:id', 'platform admin', 'not_found'),
  row('POST /platform/tenants/:id/suspend', 'platform admin', 'not_found'),
  row('POST /platform/tenants/:id/resume', 'platform admin', 'not_found'),
  row('POST /platform/tenants/:id/restore', 'platform admin', 'not_found'),
  row('GET /platform/tenants/:id/subscription', 'platform admin', 'not_found'),
  row('PUT /platform/tenants/:id/subscription', 'platform admin', 'not_found', { body: { plan: 'free' } }),
  row('GET /platform/plans', 'platform admin', 200),
  row('POST /platform/plans', 'platform admin', 201, { body: { key: '{new}', name } }),
  row('GET /platform/plans/:key', 'platform admin', 'not_found'),
  row('PATCH /platform/plans/:key', 'platform admin', 'not_found', { body: { name } }),
  row('DELETE /platform/plans/:key', 'platform admin', 'not_found'),
  row('GET /platform/erasures', 'platform admin', 200),
  row('GET /platform/permissions', 'platform admin', 200),
  row('GET /platform/roles', 'platform admin', 200),
  row('POST /platform/roles', 'platform admin', 201, { body: { name } }),
  row('GET /platform/roles/:id', 'platform admin', 'not_found'),
  row('PATCH /platform/roles/:id', 'platform admin', 'not_found', { body: { name } }),
  row('DELETE /platform/roles/:id', 'platform admin', 'not_found'),
  row('PUT /platform/roles/:id/policies/:policyId', 'platform admin', 'not_found'),
  row('DELETE /platform/roles/:id/policies/:policyId', 'platform admin', 'not_found'),
  row('GET /platform/policies', 'platform admin', 200),
  row('POST /platform/policies', 'platform admin', 201, { body: { name } }),
  row('GET /platform/policies/:id', 'platform admin', 'not_found'),
  row('PATCH /platform/policies/:id', 'platform admin', 'not_found', { body: { name } }),
  row('DELETE /platform/policies/:id', 'platform admin', 'not_found'),
  row('PUT /platform/policies/:id/permissions/:permission', 'platform admin', 'not_found'),
  row('DELETE /platform/policies/:id/permissions/:permission', 'platform admin', 'not_found'),
  row('GET /platform/users', 'platform admin', 200),
  row('GET /platform/users/:id', 'platform admin', 'not_found'),
  row('POST /platform/users/:id/disable', 'platform admin', 'not_found', { body: { reason: 'test' } }),
  row('POST /platform/users/:id/enable', 'platform admin', 'not_found', { body: { reason: 'test' } }),
  row('POST /platform/users/:id/end-sessions', 'platform admin', 'not_found', { body: { reason: 'test' } }),
  row('GET /platform/admins', 'platform admin', 200),
  row('POST /platform/admins', 'platform admin', 'not_found', { body: { email } }),
  row('DELETE /platform/admins/:id', 'platform admin', 'not_found'),
  row('GET /platform/system-users', 'platform admin', 200),
  row('POST /platform/system-users', 'platform admin', 201, { body: { name, email, serviceType } }),
  row('GET /platform/system-users/:id', 'platform admin', 'not_found'),
  row('PATCH /platform/system-users/:id', 'platform admin', 'not_found', { body: { name } }),
  row('DELETE /platform/system-users/:id', 'platform admin', 'not_found'),
  row('POST /platform/system-users/:id/rotate', 'platform admin', 'not_found', { body: { graceDays: 1 } }),
  row('POST /platform/system-users/:id/revoke-old', 'platform admin', 'not_found'),
  row('PUT /platform/system-users/:id/tenants/:tenant', 'platform admin', 'not_found', {
    body: { role: 'Basic' },
  }),
  row('DELETE /platform/system-users/:id/tenants/:tenant', 'platform admin', 'not_found'),
]

/** Requests with ids in other places than the path, beside those above: they too must not reach another tenant's. */
export const alsoAimed: readonly Row[] = [
  row('POST /api/authorize', 'any member', 200, {
    body: { permission: 'tenant-api:project:read', userId: '{member}' },
  }),
  row('POST /api/authorize/batch', 'any member', 200, {
    body: { checks: [{ permission: 'tenant-api:project:read', userId: '{member}' }] },
  }),
  row('POST /api/members', 'tenant-api:member:create', 201, {
    body: { email: '{stranger}', role: '{role}' },
  }),
  row('PATCH /api/members/:userId', 'tenant-api:member:update', 200, {
    of: ['member'],
    body: { role: '{role}' },
  }),
  row('PATCH /api/system-users/:id', 'tenant-api:system-user:update', 200, {
    of: ['systemUser'],
    body: { role: '{role}' },
  }),
]
