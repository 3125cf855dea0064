import { Type } from 'typebox'
import { platformRoute } from '../../http/access-rules.ts'
import type { App } from '../../http/app.ts'
import { identityOf } from '../../http/guards.ts'
import { answers, Id, Line, NoContent } from '../../http/schemas.ts'
import { AppError } from '../../kernel/errors.ts'
import type { MasterTransaction } from '../../master/master.ts'
import { findRole, findSystemUser, putMembership } from '../../master/system-users.ts'
import { findTenant } from '../../master/tenants.ts'
import type { ControlDeps } from '../control-deps.ts'
import { mailAdmins } from '../members/admins.ts'
import { changeAudited } from './change-audited.ts'
import { RoleBody } from './schemas.ts'

const tags = ['Platform']
const config = platformRoute()

const TenantParams = Type.Object({ id: Id(), tenant: Line({ maxLength: 63, description: 'Id or slug' }) })

const tenantOf = async (deps: ControlDeps, idOrSlug: string): Promise<{ id: string; name: string }> => {
  const tenant = await findTenant(deps.db, idOrSlug)
  if (tenant === undefined) throw new AppError('not_found', 'There is no tenant with this id or slug.')
  return tenant
}

/** Who comes in without a member's doing is never a secret to the tenant. */
const tellAdmins = async (
  trx: MasterTransaction,
  deps: ControlDeps,
  tenant: { id: string; name: string },
  { operator, name, role }: { operator: string; name: string; role: string },
): Promise<void> => {
  const { email } = await trx
    .selectFrom('people')
    .select('email')
    .where('id', '=', operator)
    .executeTakeFirstOrThrow()
  await mailAdmins(trx, deps, tenant.id, {
    kind: 'system-user-let-in',
    link: `${deps.publicUrl}/console/`,
    ...{ tenant: tenant.name, operator: email, name, role },
  })
}

/** The tenants that a system user of the platform works in, and its role in each. */
export const membershipRoutes = (app: App, deps: ControlDeps): void => {
  const path = '/platform/system-users/:id/tenants/:tenant'
  app.put(
    path,
    {
      config,
      schema: {
        tags,
        summary: 'Let a system user into a tenant, with a role',
        description: 'Its Admins are told by mail.',
        params: TenantParams,
        body: RoleBody,
        response: answers({ 204: NoContent }),
      },
    },
    async (request, reply) => {
      const { id } = request.params
      const tenant = await tenantOf(deps, request.params.tenant)
      const tenantId = tenant.id
      await changeAudited(deps, request, { action: 'role_set', id, tenantId }, async (trx) => {
        const found = await findSystemUser(trx, id)
        if (found === undefined) return undefined
        if ((found.tenant_id ?? tenantId) !== tenantId) {
          throw new AppError('conflict', 'A tenant keeps this system user; it works there and nowhere else.')
        }
        const role = await findRole(trx, tenantId, request.body.role)
        if (role === undefined) throw new AppError('not_found', 'The tenant has no such role.')
        const isNews = await putMembership(trx, { id, tenantId, roleId: role.id })
        const operator = identityOf(request).personId
        if (isNews) await tellAdmins(trx, deps, tenant, { operator, name: found.first_name, role: role.name })
        return true
      })
      return reply.code(204).send(null)
    },
  )
  app.delete(
    path,
    {
      config,
      schema: {
        tags,
        summary: 'Take a system user out of a tenant',
        params: TenantParams,
        response: answers({ 204: NoContent }),
      },
    },
    async (request, reply) => {
      const { id } = request.params
      const { id: tenantId } = await tenantOf(deps, request.params.tenant)
      await changeAudited(deps, request, { action: 'role_taken', id, tenantId }, async (trx) => {
        if ((await findSystemUser(trx, id)) === undefined) return undefined
        await trx
          .deleteFrom('memberships')
          .where('tenant_id', '=', tenantId)
          .where('person_id', '=', id)
          .execute()
        return true
      })
      return reply.code(204).send(null)
    },
  )
}
