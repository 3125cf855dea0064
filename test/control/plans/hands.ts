import { type Answer, type Freehold, makePlatformAdmin, type SignedIn } from '../../helpers/freehold.ts'

let count = 0

/** Resolves when this node has been told of the change and has forgotten what it knew. */
export const heard = ({ service: { grants } }: Freehold, change: string): Promise<void> =>
  new Promise((resolve) => {
    const forget = grants.forget.bind(grants)
    grants.forget = (told) => {
      forget(told)
      if (told !== change) return
      grants.forget = forget
      resolve()
    }
  })

/** A platform admin, and what they do with plans. */
export const planHands = async ({ call, service, signUp }: Freehold) => {
  const operator: SignedIn = await signUp()
  await makePlatformAdmin(service, operator.personId)
  const asOperator = (method: string, url: string, body?: unknown): Promise<Answer> =>
    call(method, url, { token: operator.token, ...(body === undefined ? {} : { body }) })
  const mustBe = (answer: Answer, status: number): Answer => {
    if (answer.status !== status) throw new Error(`expected ${status}, got ${answer.status}: ${answer.text}`)
    return answer
  }
  return {
    operator,
    asOperator,
    /** A new plan that everybody may choose, with only these limits; its key. */
    newPlan: async (limits: Record<string, number | null> = {}, more: object = {}): Promise<string> => {
      count += 1
      const key = `plan-${count}-${process.pid}`
      const body = { key, name: `Plan ${count}`, limits, selfService: true, ...more }
      mustBe(await asOperator('POST', '/platform/plans', body), 201)
      return key
    },
    patchPlan: async (key: string, change: object): Promise<Answer> =>
      mustBe(await asOperator('PATCH', `/platform/plans/${key}`, change), 200),
    givePlan: async (tenantId: string, plan: string, more: object = {}): Promise<Answer> =>
      mustBe(await asOperator('PUT', `/platform/tenants/${tenantId}/subscription`, { plan, ...more }), 200),
  }
}
