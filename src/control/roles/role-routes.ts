import { patternsOfRoles } from '../../access/granting.ts'
import type { App } from '../../http/app.ts'
import { answers, NoContent } from '../../http/schemas.ts'
import { AppError } from '../../kernel/errors.ts'
import { type AccessChange, changeAccess } from './changes.ts'
import type { Surface } from './editor.ts'
import { addPolicies, countInvited, countMembers, policiesOfRoles, removePolicy } from './link-queries.ts'
import { type Deps, namedRoutes, type Thing, viewOf } from './named-routes.ts'
import { findNamed, findOwn, insertNamed } from './queries.ts'
import { CreateRoleBody, mostPolicies, RolePolicyParams, RoleView, toRoleViews } from './schemas.ts'

const roles: Thing = {
  kind: 'role',
  plural: 'roles',
  View: RoleView,
  toViews: toRoleViews,
  inUse: async ({ trx, tenantId }, { id, name }) => {
    const members = (await countMembers(trx, tenantId, [id])).get(id) ?? 0
    const invited = members > 0 ? 0 : await countInvited(trx, id)
    if (invited > 0) {
      const what = invited === 1 ? '1 open invitation gives' : `${invited} open invitations give`
      return `${what} the role ${name}; take them back first.`
    }
    if (members === 0) return undefined
    const who = members === 1 ? '1 member has' : `${members} members have`
    return `${who} the role ${name}; give them another role first.`
  },
}

/** Gives the role these policies; answers how many it did not have. Throws when the editor held less than the result. */
const extend = async (
  change: AccessChange,
  roleId: string,
  policyIds: readonly string[],
): Promise<number> => {
  const { trx, tenantId } = change
  for (const id of policyIds) await findNamed(trx, 'policy', tenantId, id)
  const added = await addPolicies(trx, roleId, policyIds)
  if ((await policiesOfRoles(trx, [roleId])).length > mostPolicies) {
    throw new AppError('conflict', `A role can have ${mostPolicies} policies at most; take one away first.`)
  }
  change.mustHold(await patternsOfRoles(trx, [roleId]))
  return added
}

const createRoute = (app: App, deps: Deps, { base, tags, rule, editorOf }: Surface): void => {
  app.post(
    `${base}/roles`,
    {
      config: rule('tenant-api:role:create', { adds: true }),
      schema: {
        tags,
        summary: base === '/api' ? 'Create a role of the tenant' : 'Create a role for all tenants',
        body: CreateRoleBody,
        response: answers({ 201: RoleView }),
      },
    },
    async (request, reply) => {
      const { policies = [], ...named } = request.body
      const view = await changeAccess(deps, editorOf(request), async (change) => {
        const row = await insertNamed(change, 'role', named)
        await extend(change, row.id, policies)
        const entity = { type: 'role', id: row.id } as const
        await change.audit('role.created', entity, { name: row.name })
        for (const policy of policies) await change.audit('role.policy_added', entity, { policy })
        return viewOf(roles, change.trx, change.tenantId, row)
      })
      reply.code(201).header('location', `${base}/roles/${view.id}`)
      return view
    },
  )
}

const policyRoutes = (app: App, deps: Deps, { base, tags, rule, editorOf }: Surface): void => {
  const url = `${base}/roles/:id/policies/:policyId`
  const config = rule('tenant-api:role:update')
  const response = answers({ 204: NoContent })
  app.put(
    url,
    { config, schema: { tags, summary: 'Give a role a policy', params: RolePolicyParams, response } },
    async (request, reply) => {
      const { id, policyId } = request.params
      await changeAccess(deps, editorOf(request), async (change) => {
        await findOwn(change, 'role', id)
        if ((await extend(change, id, [policyId])) === 0) return
        await change.audit('role.policy_added', { type: 'role', id }, { policy: policyId })
      })
      return reply.code(204).send(null)
    },
  )
  app.delete(
    url,
    { config, schema: { tags, summary: 'Take a policy from a role', params: RolePolicyParams, response } },
    async (request, reply) => {
      const { id, policyId } = request.params
      await changeAccess(deps, editorOf(request), async (change) => {
        await findOwn(change, 'role', id)
        if (!(await removePolicy(change.trx, id, policyId))) {
          throw new AppError('not_found', 'The role has no policy with this id.')
        }
        await change.audit('role.policy_removed', { type: 'role', id }, { policy: policyId })
      })
      return reply.code(204).send(null)
    },
  )
}

/** Roles of a tenant, or (on the platform) of all tenants. */
export const roleRoutes = (app: App, deps: Deps, surface: Surface): void => {
  namedRoutes(app, deps, surface, roles)
  createRoute(app, deps, surface)
  policyRoutes(app, deps, surface)
}
