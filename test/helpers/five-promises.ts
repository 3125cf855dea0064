import type { Test } from 'tap'
import type { Answer, Freehold, Member } from './freehold.ts'

export type RoutePromises = {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  /** The address for a thing of this id; routes without an id ignore it. */
  url: (id: string) => string
  body?: unknown
  status: number
  /** Bodies or addresses that must be refused with `validation_failed`. */
  bad: { name: string; url?: string; body?: unknown }[]
  /** A role that may not do it. */
  forbiddenTo: string
  /** Makes the thing the route works on, in this member's tenant, and answers its id. */
  make: (member: Member) => Promise<string>
  /** What the other tenant's Admin gets for this tenant's thing. */
  elsewhere: { status: number; code?: string } | ((answer: Answer, id: string, t: Test) => void)
}

/**
 * The five promises of every route in the tenant scope: it works; bad input is refused with a reason; nobody signed in
 * is refused; a role without the permission is refused; and the other tenant sees nothing.
 */
export const keepsFivePromises = (t: Test, freehold: Freehold, name: string, route: RoutePromises): void => {
  const { method, url, body } = route
  const call = (token: string | undefined, id: string) => freehold.call(method, url(id), { token, body })
  let made: Promise<Member> | undefined
  // One tenant for the refusals, which leave it as it was.
  const tenant = (): Promise<Member> => {
    made ??= freehold.newTenant()
    return made
  }

  t.test(`${name}: works`, async (t) => {
    const admin = await tenant()
    const answer = await call(admin.token, await route.make(admin))
    t.equal(answer.status, route.status, answer.text)
  })

  for (const bad of route.bad) {
    t.test(`${name}: ${bad.name} is refused`, async (t) => {
      const admin = await tenant()
      const address = bad.url ?? url(await route.make(admin))
      const answer = await freehold.call(method, address, { token: admin.token, body: bad.body ?? body })
      t.match(answer.body, { status: 400, code: 'validation_failed' })
      t.match(answer.headers['content-type'], /^application\/problem\+json/)
    })
  }

  t.test(`${name}: nobody signed in is refused`, async (t) => {
    const id = await route.make(await tenant())
    t.match((await call(undefined, id)).body, { status: 401, code: 'unauthenticated' })
  })

  t.test(`${name}: a signed-in person without a tenant is refused`, async (t) => {
    const id = await route.make(await tenant())
    const person = await freehold.signUp()
    t.match((await call(person.token, id)).body, { status: 403, code: 'tenant_required' })
  })

  t.test(`${name}: ${route.forbiddenTo} is not allowed`, async (t) => {
    const admin = await tenant()
    const id = await route.make(admin)
    const member = await freehold.join(admin, route.forbiddenTo)
    t.match((await call(member.token, id)).body, { status: 403, code: 'forbidden' })
  })

  t.test(`${name}: the other tenant sees nothing`, async (t) => {
    const id = await route.make(await tenant())
    const other = await freehold.newTenant()
    const answer = await call(other.token, id)
    if (typeof route.elsewhere === 'function') route.elsewhere(answer, id, t)
    else t.match(answer.body, route.elsewhere)
  })
}
