import t from 'tap'
import type { Billing } from '../../../src/control/plans/billing.ts'
import { choosePlan } from '../../../src/control/plans/subscription.ts'
import { AppError } from '../../../src/kernel/errors.ts'
import { createOnPlan } from '../../../src/tenant-manager/create-on-plan.ts'
import { startFreehold } from '../../helpers/freehold.ts'
import { planHands } from './hands.ts'

/** What a product that takes money hands in is asked, and its answer counts. */

const freehold = await startFreehold(t)
const { call, service, signUp, newTenant } = freehold
const { db } = service.master
const { newPlan } = await planHands(freehold)

const until = new Date('2100-01-01T00:00:00Z')
const asked: string[] = []
const billing: Billing = {
  paidUntil: async (_trx, { tenantId }) => {
    asked.push(tenantId)
    return until
  },
}
const unpaid: Billing = {
  paidUntil: async () => {
    throw new AppError('forbidden', 'Pay first.')
  },
}

const create = async (plan: string, { paidUntil }: Billing) => {
  const { personId } = await signUp()
  await service.manager.refillSpares()
  return createOnPlan(
    service.manager,
    db,
    { chosenBy: 'self', paidUntil },
    {
      ...{ name: 'Paid', slug: undefined, plan, region: undefined, tier: 'shared', firstAdmin: personId },
      by: { actor: { kind: 'person', id: personId } },
    },
  )
}
const termsOf = (tenantId: string) =>
  db
    .selectFrom('subscriptions')
    .select(['status', 'ends_at'])
    .where('tenant_id', '=', tenantId)
    .executeTakeFirst()

t.test('a tenant that begins with a plan has it for as long as it is paid', async (t) => {
  const { id } = await create(await newPlan(), billing)
  t.strictSame(asked.splice(0), [id])
  t.match(await termsOf(id), { status: 'active', ends_at: until })
})

t.test('nothing is created while it is not paid', async (t) => {
  const count = async () => (await db.selectFrom('tenants').select('id').execute()).length
  const plan = await newPlan()
  const before = await count()
  await t.rejects(create(plan, unpaid), { code: 'forbidden', message: 'Pay first.' })
  t.equal(await count(), before)
})

t.test('a trial comes before the bill', async (t) => {
  const { id } = await create(await newPlan({}, { trialDays: 7 }), unpaid)
  t.match(await termsOf(id), { status: 'trialing' })
})

t.test("an Admin's choice is asked too", async (t) => {
  const { tenantId, personId, token } = await newTenant()
  const plan = await newPlan()
  const deps = { db, grants: service.grants, readTenantCounts: async () => undefined }
  const who = { tenantId, personId, actor: { kind: 'person', id: personId } } as const
  const caller = { address: '127.0.0.1', userAgent: null, requestId: 'test' }
  const choose = (by: Billing) => choosePlan({ ...deps, billing: by }, { ...who, caller }, plan)
  await t.rejects(choose(unpaid), { message: 'Pay first.' })
  await choose(billing)
  t.strictSame(asked.splice(0), [tenantId])
  t.match((await call('GET', '/api/tenant/subscription', { token })).body, {
    plan: { key: plan },
    expiresAt: until.toISOString(),
  })
})
