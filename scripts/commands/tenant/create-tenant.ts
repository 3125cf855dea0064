import { setTimeout as sleep } from 'node:timers/promises'
import { AppError, OperatorError } from '../../../src/kernel/errors.ts'
import { findPersonByEmail, type Person } from '../../../src/master/people.ts'
import { findTenant, type ListedTenant } from '../../../src/master/tenants.ts'
import { createOnPlan } from '../../../src/tenant-manager/create-on-plan.ts'
import type { Installation } from '../../installation.ts'
import { errorText } from '../../output.ts'
import type { Progress } from '../../progress.ts'

export type TenantWishes = {
  slug: string
  name: string
  adminEmail: string
  plan: string | undefined
  region?: string
  cluster?: string
  tier: 'shared' | 'dedicated' | 'external'
  /** Whether to stay until the tenant has its database. */
  wait: boolean
}

/** Milliseconds for another process to finish the database it is building for the tenant. */
const patience = 120_000

const findAdmin = async ({ config, master }: Installation, email: string): Promise<Person> => {
  const person = await findPersonByEmail(master.db, email)
  if (person?.disabled_at === null) return person
  if (person !== undefined) throw new OperatorError(`the account of ${email} is disabled; name another Admin`)
  const first = await master.db
    .selectFrom('people')
    .select('id')
    .where('platform_admin', '=', true)
    .executeTakeFirst()
  throw new OperatorError([
    `there is no account with ${email}: that person must sign up first (POST /auth/register)`,
    ...(first === undefined
      ? [
          `this installation has no platform admin yet: npm start makes ${config.admin.email} and prints the password`,
        ]
      : []),
  ])
}

const reload = async ({ master }: Installation, id: string): Promise<ListedTenant> => {
  const tenant = await findTenant(master.db, id)
  if (tenant === undefined) throw new AppError('not_found', 'The tenant was removed meanwhile.')
  return tenant
}

/** Builds the database here, unless a worker is at it already; then waits for the worker. */
const provision = async (installation: Installation, tenant: ListedTenant): Promise<ListedTenant> => {
  const later = 'a running Freehold tries again; see freehold doctor'
  for (const deadline = Date.now() + patience; Date.now() < deadline; await sleep(100)) {
    try {
      await installation.manager.provisionTenant(tenant.id)
    } catch (error) {
      throw new OperatorError(
        `tenant ${tenant.slug} was created, but its database could not be built (${errorText(error)}); ${later}`,
        error,
      )
    }
    const now = await reload(installation, tenant.id)
    if (now.status !== 'pending') return now
  }
  throw new OperatorError(`tenant ${tenant.slug} was created, but its database is not ready yet; ${later}`)
}

/**
 * Creates a tenant in the operator's name, audited. Throws an OperatorError when
 * nobody has an account with the Admin's address, `slug_taken`, and `validation_failed` when no server takes it or there is
 * no such plan.
 */
export const createTenant = async (
  installation: Installation,
  wishes: TenantWishes,
  progress: Progress,
): Promise<ListedTenant> => {
  const { master, manager } = installation
  const { adminEmail, wait, ...wanted } = wishes
  const admin = await findAdmin(installation, adminEmail)
  const by = { actor: { kind: 'operator', id: null } } as const
  const asked = { ...wanted, firstAdmin: admin.id, by }
  const { id } = await createOnPlan(manager, master.db, { chosenBy: 'platform' }, asked)
  const tenant = await reload(installation, id)
  if (tenant.status !== 'pending' || !wait) return tenant
  progress.step(`no spare database is free; building one for ${tenant.slug}`)
  return provision(installation, tenant)
}
