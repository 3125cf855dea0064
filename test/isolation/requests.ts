import { newId } from '../../src/kernel/ids.ts'
import { canaryIdOf, canaryOf, sharedId, sharedRows } from './canaries.ts'
import { ask, pick, type Question, type User } from './fuzz-run.ts'
import type { Tenant } from './tenant.ts'

type Row = Record<string, unknown>

const text = ({ facts }: Tenant): string => `${canaryOf(facts.index)} ${newId()}`
const anySharedId = ({ random }: User): string => sharedId(Math.floor(random() * sharedRows))

/** A project by one of the ids that everybody has. */
export const getProject = (id: string): Question => ({
  ...{ name: 'get', method: 'GET', path: `/api/projects/${id}`, statuses: [200], carries: true },
  check: (body) => (body.id === id ? undefined : `another row than ${id}`),
})

const list = (user: User): Question => {
  const limit = 1 + Math.floor(user.random() * 12)
  return {
    ...{ name: 'list', method: 'GET', path: `/api/projects?limit=${limit}`, statuses: [200], carries: true },
    check: ({ data }) => {
      const rows = data as Row[]
      return rows.length >= 1 && rows.length <= limit ? undefined : `${rows.length} of ${limit} rows`
    },
  }
}

/** Changes a project that everybody has. */
export const patchProject = (tenant: Tenant, id: string): Question => {
  const description = text(tenant)
  return {
    ...{ name: 'patch', method: 'PATCH', path: `/api/projects/${id}`, body: { description } },
    ...{ statuses: [200], carries: true },
    check: (body) =>
      body.id === id && body.description === description ? undefined : 'not what was written',
  }
}

const create = (tenant: Tenant): Question => {
  const name = text(tenant)
  return {
    ...{ name: 'create', method: 'POST', path: '/api/projects', body: { name, workspaceId: sharedId(0) } },
    ...{ statuses: [201], carries: true },
    check: (body) => {
      tenant.made.push(String(body.id))
      return body.name === name ? undefined : 'not what was written'
    },
  }
}

const remove = (tenant: Tenant): Question => ({
  ...{ name: 'delete', method: 'DELETE', path: `/api/projects/${tenant.made.shift() ?? newId()}` },
  ...{ statuses: [204, 404], carries: false },
})

/** What another tenant has made is not there. */
const getForeign = (user: User, tenant: Tenant): Question => {
  const other = pick(user.random, user.run.tenants)
  const id = other === tenant ? undefined : other.made.at(-1)
  const path = `/api/projects/${id ?? newId()}`
  return { name: 'foreign', method: 'GET', path, statuses: [404], carries: false }
}

/** A transaction that the database ends, with the id in its error. */
const refused = (tenant: Tenant): Question => ({
  ...{ name: 'refused', method: 'PATCH', path: `/api/projects/${sharedId(1)}` },
  ...{ body: { name: text(tenant), workspaceId: canaryIdOf(tenant.facts.index) } },
  ...{ statuses: [400], carries: false },
})

const invalid = (tenant: Tenant): Question => ({
  ...{ name: 'invalid', method: 'POST', path: '/api/projects' },
  ...{ body: { name: 'x', [canaryOf(tenant.holds)]: 1 }, statuses: [400], carries: false },
})

/** The tenant itself: its name from the master, its settings from its own database. */
export const getTenant = (tenant: Tenant, idOrSlug: string): Question => ({
  ...{ name: 'tenant', method: 'GET', path: `/tenants/${idOrSlug}`, carries: false },
  // Its slug may just be another tenant's.
  statuses: [200, 404],
  check: ({ id, settings }) => {
    if (id !== tenant.facts.id) return 'another tenant'
    return settings === null || (settings as Row).canary !== undefined ? undefined : 'no settings'
  },
})

const context = (): Question => ({
  ...{ name: 'context', method: 'GET', path: '/auth/context', statuses: [200], carries: false },
})

const switchTenant = (tenant: Tenant): Question => ({
  ...{ name: 'switch', method: 'POST', path: '/auth/switch', body: { tenant: tenant.facts.id } },
  ...{ statuses: [200, 403], carries: false },
})

type Kind = Readonly<{ weight: number; make: (user: User, tenant: Tenant) => Question }>

const reads: readonly Kind[] = [
  { weight: 40, make: (user) => getProject(anySharedId(user)) },
  { weight: 20, make: list },
  { weight: 6, make: getForeign },
  { weight: 2, make: (_, tenant) => getTenant(tenant, tenant.facts.id) },
  { weight: 2, make: (_, tenant) => getTenant(tenant, tenant.slug) },
  { weight: 1, make: context },
  { weight: 1, make: (_, tenant) => switchTenant(tenant) },
]

const writes: readonly Kind[] = [
  { weight: 14, make: (user, tenant) => patchProject(tenant, anySharedId(user)) },
  { weight: 4, make: (_, tenant) => create(tenant) },
  { weight: 3, make: (_, tenant) => remove(tenant) },
  { weight: 3, make: (_, tenant) => refused(tenant) },
  { weight: 2, make: (_, tenant) => invalid(tenant) },
]

/** One of these, the heavier the likelier. */
export const weighted = <K extends { weight: number }>(random: () => number, kinds: readonly K[]): K => {
  let left = random() * kinds.reduce((sum, { weight }) => sum + weight, 0)
  for (const kind of kinds) {
    left -= kind.weight
    if (left < 0) return kind
  }
  return pick(random, kinds)
}

/** So many of a hundred requests are given up by their client. */
const hangUps = 0.04
const patienceMs = 12
/** So many are a wanderer's, whose role and session change. */
const wanderers = 0.3

/** Makes one request over HTTP, as somebody of the tenant to some node. */
export const request = async (user: User, tenant: Tenant): Promise<void> => {
  const { random } = user
  const { make } = weighted(random, tenant.trades ? reads : [...reads, ...writes])
  const question = make(user, tenant)
  const wandering = random() < wanderers
  // Suspended tenants are refused; so is a wanderer for many reasons.
  const statuses = [...question.statuses, 403, ...(wandering ? [401] : [])]
  const hangUpMs = random() < hangUps ? random() * patienceMs : undefined
  await ask(user, tenant, wandering ? tenant.wanderer : tenant.admin, { ...question, statuses }, { hangUpMs })
}
