import { type Static, type TSchema, Type } from 'typebox'
import { Body, Id, Line, Nullable, Slug, Text, Time } from '../../http/schemas.ts'
import { type Plan, toLimits } from '../../master/plans.ts'
import type { Subscription } from '../../master/subscriptions.ts'

const most = 2_147_483_647
const limited = (minimum: number, maximum: number, description: string) =>
  Nullable(Type.Integer({ minimum, maximum, description }))

const limits = {
  seats: limited(1, most, 'Active members; null here and below: no limit'),
  projects: limited(0, most, 'Projects'),
  jobsPerDay: limited(0, most, 'Jobs begun in a day (UTC)'),
  requestsPerMinute: limited(1, most, 'Requests in the tenant in a minute, over all nodes'),
  connections: limited(1, most, 'Server connections at once; never more than TENANT_MAX_CONNECTIONS'),
  storageBytes: limited(0, Number.MAX_SAFE_INTEGER, "Size of the tenant's database"),
}

export const LimitsView = Type.Object(limits, { title: 'PlanLimits' })

const key = Slug()
const PlanKey = () => Type.String({ minLength: 1, maxLength: 63, description: 'Key of a plan' })
export const PlanParams = Type.Object({ key: PlanKey() })

const name = Line({ maxLength: 100 })
const fields = {
  description: Text({ minLength: 0, maxLength: 1_000 }),
  weight: Type.Integer({
    minimum: 1,
    maximum: 100,
    description: 'Its part of connections against other tenants, when there are not enough for all',
  }),
  limits: Type.Object(
    {
      seats: Type.Optional(limits.seats),
      projects: Type.Optional(limits.projects),
      jobsPerDay: Type.Optional(limits.jobsPerDay),
      requestsPerMinute: Type.Optional(limits.requestsPerMinute),
      connections: Type.Optional(limits.connections),
      storageBytes: Type.Optional(limits.storageBytes),
    },
    { additionalProperties: false, description: 'What is left out of a new plan has no limit' },
  ),
  trialDays: Nullable(Type.Integer({ minimum: 1, maximum: 365, description: 'Null: no trial' })),
  selfService: Type.Boolean({ description: "Whether a tenant's own Admins may choose it" }),
  fallsBackTo: Nullable({
    ...PlanKey(),
    description: 'The plan that follows when this one ends; null: the tenant can only be read then',
  }),
}

const optional = <P extends Record<string, TSchema>>(properties: P) =>
  Object.fromEntries(Object.entries(properties).map(([k, schema]) => [k, Type.Optional(schema)])) as {
    [K in keyof P]: ReturnType<typeof Type.Optional<P[K]>>
  }

export const CreatePlanBody = Body({ key, name, ...optional(fields) })
export const PatchPlanBody = Body(
  {
    ...optional({ name, ...fields }),
    status: Type.Optional(
      Type.Union([Type.Literal('active'), Type.Literal('archived')], {
        description: 'Whoever has an archived plan keeps it; nobody gets it any more',
      }),
    ),
  },
  { minProperties: 1 },
)
export type PlanChange = Static<typeof PatchPlanBody>

const face = {
  key: Type.String(),
  name: Type.String(),
  description: Type.String(),
  limits: LimitsView,
  trialDays: Nullable(Type.Integer()),
}

/** A plan as the people of tenants see it. */
export const PlanFace = Type.Object(face, { title: 'Plan' })

type PlanRow = Omit<Plan, 'tenants'>

export const toPlanFace = (row: PlanRow): Static<typeof PlanFace> => ({
  key: row.key,
  name: row.name,
  description: row.description,
  limits: toLimits(row),
  trialDays: row.trial_days,
})

export const PlatformPlanView = Type.Object(
  {
    id: Id(),
    ...face,
    status: Type.Union([Type.Literal('active'), Type.Literal('archived')]),
    weight: Type.Integer(),
    selfService: Type.Boolean(),
    fallsBackTo: Nullable(Type.String()),
    tenants: Type.Integer({ description: 'How many have it, deleted ones within their grace too' }),
    createdAt: Time(),
    updatedAt: Time(),
  },
  { title: 'PlatformPlan' },
)

export const toPlatformPlanView = (row: Plan): Static<typeof PlatformPlanView> => ({
  id: row.id,
  ...toPlanFace(row),
  status: row.status,
  weight: row.weight,
  selfService: row.self_service,
  fallsBackTo: row.falls_back_to,
  tenants: row.tenants ?? 0,
  createdAt: row.created_at.toISOString(),
  updatedAt: row.updated_at.toISOString(),
})

export const SubscriptionStatus = Type.Union([
  Type.Literal('trialing'),
  Type.Literal('active'),
  Type.Literal('expired'),
])

const terms = {
  status: SubscriptionStatus,
  trialEndsAt: Nullable(Time()),
  expiresAt: Nullable({ ...Time(), description: 'When the plan ends or has ended; null: never' }),
  changedBy: Nullable({ ...Id(), description: 'Null: nobody, or nobody any more' }),
  changedAt: Nullable(Time()),
}

/** On what terms a tenant has its plan. */
export const TermsView = Type.Object(terms)

export const toTermsView = (row: Subscription | undefined): Static<typeof TermsView> => {
  const { status = 'active' as const, ends_at: end = null } = row ?? {}
  const endsAt = end?.toISOString() ?? null
  return {
    status,
    trialEndsAt: status === 'trialing' ? endsAt : null,
    expiresAt: endsAt,
    changedBy: row?.changed_by ?? null,
    changedAt: row?.changed_at.toISOString() ?? null,
  }
}

export const SubscriptionView = Type.Object(
  {
    plan: PlanFace,
    ...terms,
    choices: Type.Array(PlanFace, { description: "The plans that the tenant's Admins may choose" }),
  },
  { title: 'Subscription' },
)

export const ChoosePlanBody = Body({ plan: PlanKey() })
export const GivePlanBody = Body({
  plan: PlanKey(),
  expiresAt: Type.Optional(Nullable({ ...Time(), description: 'When the plan ends; default: never' })),
  trial: Type.Optional(
    Type.Boolean({ description: 'As a trial: of trialDays, unless expiresAt says otherwise' }),
  ),
})

const Used = Type.Object({
  used: Nullable(Type.Integer({ description: "Null while it can't be told" })),
  limit: Nullable(Type.Integer({ description: 'Null: none' })),
  period: Nullable(Type.Union([Type.Literal('minute'), Type.Literal('day')])),
  resetsAt: Nullable({ ...Time(), description: 'When counting begins anew' }),
})

export const UsageView = Type.Object(
  {
    plan: Type.String(),
    usage: Type.Object({
      seats: Used,
      projects: Used,
      jobsPerDay: Used,
      requestsPerMinute: Used,
      connections: Used,
      storageBytes: Used,
    }),
    storageMeasuredAt: Nullable(Time()),
  },
  { title: 'Usage' },
)
