import { patternsOfRoles } from '../../access/granting.ts'
import type { App } from '../../http/app.ts'
import { answers, NoContent } from '../../http/schemas.ts'
import { AppError } from '../../kernel/errors.ts'
import { type AccessChange, changeAccess } from './changes.ts'
import type { Surface } from './editor.ts'
import { addPermissions, permissionsOfPolicies, removePermission, rolesOfPolicy } from './link-queries.ts'
import { type Deps, namedRoutes, type Thing, viewOf } from './named-routes.ts'
import { findOwn, insertNamed } from './queries.ts'
import { CreatePolicyBody, GrantParams, PolicyView, RevokeParams, toPolicyViews } from './schemas.ts'

const policies: Thing = {
  kind: 'policy',
  plural: 'policies',
  View: PolicyView,
  toViews: (db, _tenantId, rows) => toPolicyViews(db, rows),
  inUse: async ({ trx }, { id, name }) => {
    const { length } = await rolesOfPolicy(trx, id)
    if (length === 0) return undefined
    return `${length === 1 ? '1 role has' : `${length} roles have`} the policy ${name}; take it from them first.`
  },
}

/**
 * Adds to the policy; answers how many are new. Throws when the editor held less than what results: the policy, and every
 * role that has it.
 */
const extend = async (
  change: AccessChange,
  policyId: string,
  permissions: readonly string[],
): Promise<number> => {
  const { trx } = change
  const added = await addPermissions(trx, policyId, permissions)
  const own = await permissionsOfPolicies(trx, [policyId])
  change.mustHold(own.map(({ permission }) => permission))
  change.mustHold(await patternsOfRoles(trx, await rolesOfPolicy(trx, policyId)))
  return added
}

const createRoute = (app: App, deps: Deps, { base, tags, rule, editorOf }: Surface): void => {
  app.post(
    `${base}/policies`,
    {
      config: rule('tenant-api:policy:create', { adds: true }),
      schema: {
        tags,
        summary: base === '/api' ? 'Create a policy of the tenant' : 'Create a policy for all tenants',
        body: CreatePolicyBody,
        response: answers({ 201: PolicyView }),
      },
    },
    async (request, reply) => {
      const { permissions = [], ...named } = request.body
      const view = await changeAccess(deps, editorOf(request), async (change) => {
        const row = await insertNamed(change, 'policy', named)
        await extend(change, row.id, permissions)
        const entity = { type: 'policy', id: row.id } as const
        await change.audit('policy.created', entity, { name: row.name })
        for (const permission of permissions) {
          await change.audit('policy.permission_added', entity, { permission })
        }
        return viewOf(policies, change.trx, change.tenantId, row)
      })
      reply.code(201).header('location', `${base}/policies/${view.id}`)
      return view
    },
  )
}

const permissionRoutes = (app: App, deps: Deps, { base, tags, rule, editorOf }: Surface): void => {
  const url = `${base}/policies/:id/permissions/:permission`
  const config = rule('tenant-api:policy:update')
  const response = answers({ 204: NoContent })
  app.put(
    url,
    { config, schema: { tags, summary: 'Add a permission to a policy', params: GrantParams, response } },
    async (request, reply) => {
      const { id, permission } = request.params
      await changeAccess(deps, editorOf(request), async (change) => {
        await findOwn(change, 'policy', id)
        if ((await extend(change, id, [permission])) === 0) return
        await change.audit('policy.permission_added', { type: 'policy', id }, { permission })
      })
      return reply.code(204).send(null)
    },
  )
  app.delete(
    url,
    { config, schema: { tags, summary: 'Take a permission from a policy', params: RevokeParams, response } },
    async (request, reply) => {
      const { id, permission } = request.params
      await changeAccess(deps, editorOf(request), async (change) => {
        await findOwn(change, 'policy', id)
        if (!(await removePermission(change.trx, id, permission))) {
          throw new AppError('not_found', 'The policy does not hold this permission.')
        }
        await change.audit('policy.permission_removed', { type: 'policy', id }, { permission })
      })
      return reply.code(204).send(null)
    },
  )
}

/** Policies of a tenant, or (on the platform) of all tenants. */
export const policyRoutes = (app: App, deps: Deps, surface: Surface): void => {
  namedRoutes(app, deps, surface, policies)
  createRoute(app, deps, surface)
  permissionRoutes(app, deps, surface)
}
