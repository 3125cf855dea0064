import fc from 'fast-check'
import t from 'tap'
import { startFreehold } from '../../helpers/freehold.ts'
import { accessHands } from './hands.ts'

const freehold = await startFreehold(t)
const { call, join, newTenant, service } = freehold
const { newPolicy, newRole, setRole } = accessHands(freehold)
const { db } = service.master

const admin = await newTenant()
const { token } = admin
const names = (
  (await call('GET', '/api/permissions', { token })).body.data as unknown as { name: string }[]
).map(({ name }) => name)

/** The rule once more, in other words: a pattern is words, and a star at the end stands for all that follows. */
const grants = (pattern: string, name: string): boolean => {
  const [words, parts] = [pattern.split(':'), name.split(':')]
  for (const [at, part] of parts.entries()) {
    if (words[at] === '*' && at === words.length - 1) return true
    if (words[at] !== part) return false
  }
  return words.length === parts.length
}

const services = [...new Set(names.map((name) => name.split(':')[0]))].map((s) => `${s}:*`)
const entities = [...new Set(names.map((name) => name.split(':').slice(0, 2).join(':')))].map((e) => `${e}:*`)
const pattern = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(...names) },
  { weight: 3, arbitrary: fc.constantFrom(...entities) },
  { weight: 1, arbitrary: fc.constantFrom(...services) },
)
/** Rows of another release: in the database, in no catalogue. */
const leftOver = fc.constantFrom(
  'tenant-api:proj:*',
  'tenant-api:projects:read',
  'tenant:*',
  'old-api:project:read',
)
const policy = fc.record({
  permissions: fc.uniqueArray(pattern, { maxLength: 6 }),
  leftOvers: fc.uniqueArray(leftOver, { maxLength: 2 }),
  /** Taken away again, by its place. */
  removed: fc.nat(5),
})
const world = fc.record({
  policies: fc.array(policy, { minLength: 1, maxLength: 4 }),
  roles: fc.array(fc.uniqueArray(fc.nat(3), { maxLength: 3 }), { minLength: 1, maxLength: 3 }),
})

t.test('what roles grant is what an independent model says, for any roles and policies', async (t) => {
  const member = await join(admin, 'Basic')
  await fc.assert(
    fc.asyncProperty(world, async ({ policies, roles }) => {
      const made: { id: string; held: string[] }[] = []
      for (const { permissions, leftOvers, removed } of policies) {
        const id = await newPolicy(token, permissions)
        const rows = leftOvers.map((permission) => ({ policy_id: id, permission }))
        if (rows.length > 0) await db.insertInto('policy_permissions').values(rows).execute()
        const away = permissions[removed]
        if (away !== undefined) await call('DELETE', `/api/policies/${id}/permissions/${away}`, { token })
        made.push({ id, held: [...permissions.filter((one) => one !== away), ...leftOvers] })
      }
      for (const places of roles) {
        const has = places.flatMap((place) => made[place] ?? [])
        const role = await newRole(token)
        for (const { id } of has) await call('PUT', `/api/roles/${role}/policies/${id}`, { token })
        await setRole(member, role)
        const expected = names.filter((name) => has.some(({ held }) => held.some((one) => grants(one, name))))
        const [view, context] = await Promise.all([
          call('GET', `/api/roles/${role}`, { token }),
          call('GET', '/auth/context', { token: member.token }),
        ])
        if (String(view.body.permissions) !== String(expected)) throw new Error('the role shows others')
        if (String(context.body.permissions) !== String(expected)) throw new Error('the member holds others')
        const checks = names.map((permission) => ({ permission }))
        const { body } = await call('POST', '/api/authorize/batch', { token: member.token, body: { checks } })
        const allowed = (body.results as unknown as { allowed: boolean }[]).map((one) => one.allowed)
        if (String(allowed) !== String(names.map((name) => expected.includes(name)))) {
          throw new Error('authorize says something else')
        }
      }
    }),
    { numRuns: 20 },
  )
  t.pass('20 worlds')
})
