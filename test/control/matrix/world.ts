import type { Freehold, Member } from '../../helpers/freehold.ts'
import type { Aim, Row } from './rows.ts'

const nobodysId = '018f0000-0000-7000-8000-000000000000'
const permission = 'tenant-api:project:read'

let count = 0
/** A name that nothing has, in any world: a role for all tenants takes its name from each of them. */
const fresh = (): string => {
  count += 1
  return `x${count}`
}

/** Requests of rows, and what they aim at. */
export const openWorld = ({ call, service }: Freehold) => {
  const { db } = service.master
  const create = async ({ token }: Member, path: string, body: object): Promise<string> => {
    const answer = await call('POST', path, { token, body })
    if (answer.status !== 201 && answer.status !== 202)
      throw new Error(`expected 201 or 202, got ${answer.status}: ${answer.text}`)
    return String(answer.body.id)
  }
  const person = async (): Promise<{ id: string; email: string }> => {
    const one = { id: crypto.randomUUID(), email: `${fresh()}@people.example.com` }
    await db
      .insertInto('people')
      .values({ ...one, first_name: 'X' })
      .execute()
    return one
  }
  const newPolicy = (admin: Member) =>
    create(admin, '/api/policies', { name: fresh(), permissions: [permission] })

  const newUser = (admin: Member) =>
    create(admin, '/api/users', { email: `${fresh()}@people.example.com`, firstName: 'X' })

  const makers: Record<Aim, (admin: Member) => Promise<string>> = {
    tenant: async ({ tenantId }) => tenantId,
    permission: async () => permission,
    workspace: (admin) => create(admin, '/api/workspaces', { name: fresh() }),
    user: newUser,
    workspaceMember: newUser,
    project: (admin) => create(admin, '/api/projects', { name: fresh() }),
    job: (admin) => create(admin, '/api/jobs', { type: 'noop', idempotencyKey: fresh() }),
    schedule: (admin) => create(admin, '/api/schedules', { name: fresh(), type: 'noop', cron: '0 6 * * *' }),
    member: async ({ tenantId }) => {
      const { id } = await person()
      const role = await db
        .selectFrom('roles')
        .select('id')
        .where('name', '=', 'Basic')
        .where('tenant_id', 'is', null)
        .executeTakeFirstOrThrow()
      await db
        .insertInto('memberships')
        .values({ tenant_id: tenantId, person_id: id, role_id: role.id })
        .execute()
      return id
    },
    invitation: (admin) =>
      create(admin, '/api/invitations', { email: `${fresh()}@people.example.com`, role: 'Basic' }),
    policy: newPolicy,
    heldPolicy: newPolicy,
    role: (admin) => create(admin, '/api/roles', { name: fresh() }),
    systemUser: (admin) =>
      create(admin, '/api/system-users', { name: fresh(), role: 'Basic', serviceType: 'test' }),
  }
  const aimed = Object.keys(makers) as Aim[]

  /** The objects of a tenant, each made when it is first asked for. */
  const objectsOf = (admin: Member) => {
    const made = new Map<Aim, Promise<string>>()
    const get = (aim: Aim): Promise<string> => {
      const known = made.get(aim)
      if (known !== undefined) return known
      const id = makers[aim](admin)
      made.set(aim, id)
      return id
    }
    const holding = async (): Promise<void> => {
      const [role_id, policy_id] = [await get('role'), await get('heldPolicy')]
      await db
        .insertInto('role_policies')
        .values({ role_id, policy_id })
        .onConflict((conflict) => conflict.doNothing())
        .execute()
    }
    const joining = async (): Promise<void> => {
      const [workspace_id, user_id] = [await get('workspace'), await get('workspaceMember')]
      await service.router.use(admin.tenantId, (own) =>
        own
          .insertInto('workspace_members')
          .values({ workspace_id, user_id, role: 'viewer' })
          .onConflict((conflict) => conflict.doNothing())
          .execute(),
      )
    }
    return async (aim: Aim): Promise<string> => {
      if (aim === 'heldPolicy') await holding()
      if (aim === 'workspaceMember') await joining()
      return get(aim)
    }
  }
  type Objects = ReturnType<typeof objectsOf>

  const fill = async (text: string, objects: Objects, slug: string): Promise<string> => {
    let filled = text.replaceAll('{new}', fresh()).replaceAll('{slug}', slug)
    if (filled.includes('{stranger}')) filled = filled.replaceAll('{stranger}', (await person()).email)
    for (const aim of aimed) {
      if (filled.includes(`{${aim}}`)) filled = filled.replaceAll(`{${aim}}`, await objects(aim))
    }
    return filled
  }

  /** The row's request, with the ids of these objects, or of nobody's where there are none. */
  const request = async (
    { route, of = [], body }: Row,
    { objects, path = objects, slug = '' }: { objects: Objects; path?: Objects | undefined; slug?: string },
  ): Promise<{ method: string; url: string; body?: Record<string, unknown> }> => {
    const [method = '', pattern = ''] = route.split(' ')
    const parts = pattern.split('/')
    let n = 0
    for (const [i, part] of parts.entries()) {
      if (!part.startsWith(':')) continue
      const aim = part === ':permission' ? 'permission' : of[n]
      parts[i] = aim === undefined ? nobodysId : await path(aim)
      n += 1
    }
    const url = parts.join('/')
    if (body === undefined) return { method, url }
    return { method, url, body: JSON.parse(await fill(JSON.stringify(body), objects, slug)) }
  }
  /** Objects that are not there. */
  const nowhere: Objects = async (aim) => (aim === 'permission' ? permission : nobodysId)

  return { objectsOf, nowhere, request }
}
