import { AppError } from './errors.ts'

/** What a plan limits, by the names that callers see. */
export const planLimits = [
  'seats',
  'projects',
  'jobsPerDay',
  'requestsPerMinute',
  'connections',
  'storageBytes',
] as const
export type PlanLimit = (typeof planLimits)[number]

/** The most a tenant may have of each; null: as much as it likes. */
export type PlanLimits = Readonly<Record<PlanLimit, number | null>>

/** A tenant's plan, as every request in it must know it. */
export type TenantPlan = Readonly<{
  key: string
  limits: PlanLimits
  /** Why nothing new is written in the tenant right now; reading and deleting go on. */
  readOnly?: AppError
}>

const words: Readonly<Record<PlanLimit, string>> = {
  seats: 'seats',
  projects: 'projects',
  jobsPerDay: 'jobs a day',
  requestsPerMinute: 'requests a minute',
  connections: 'connections',
  storageBytes: 'bytes of storage',
}

/** What is used up, as one of the `errors` of a problem. */
export const overLimit = (limit: PlanLimit, { most, used }: { most: number; used: number }) => ({
  path: `/${limit}`,
  message: `limit ${most}, used ${used}`,
})

/** The refusal of what would be more than the plan allows: which limit, how much that is, and how much is used. */
export const planLimitReached = (
  limit: PlanLimit,
  { most, used }: { most: number; used: number },
): AppError =>
  new AppError(
    'plan_limit_reached',
    `The plan of this tenant allows ${most} ${words[limit]}, and ${used} are used; free some or change the plan.`,
    { errors: [overLimit(limit, { most, used })] },
  )

/** The refusal of new things in a tenant whose plan has ended. */
export const planEnded = (): AppError =>
  new AppError(
    'plan_limit_reached',
    'The plan of this tenant has ended: everything can be read and deleted, nothing added; choose a plan first.',
    { errors: [{ path: '/subscription', message: 'has expired' }] },
  )
