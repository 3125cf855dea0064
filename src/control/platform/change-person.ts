import type { FastifyRequest } from 'fastify'
import { lockPlatformAdmins } from '../../access/platform-admins.ts'
import { identityOf } from '../../http/guards.ts'
import { callerOf } from '../../http/identity.ts'
import { AppError } from '../../kernel/errors.ts'
import { writeMasterAudit } from '../../master/audit-log.ts'
import type { MasterTransaction } from '../../master/master.ts'
import { listMyTenants } from '../../master/memberships.ts'
import type { ControlDeps } from '../control-deps.ts'
import { findListedPerson, lockPerson } from './people-queries.ts'
import { toPersonDetail } from './people-schemas.ts'

export type LockedPerson = NonNullable<Awaited<ReturnType<typeof lockPerson>>>

const noPerson = (): AppError =>
  new AppError('not_found', 'There is no person with this id or email address.')

/** The person as it stands now. Throws `not_found`. */
export const personDetail = async (deps: Pick<ControlDeps, 'db'>, id: string) => {
  const person = await findListedPerson(deps.db, id)
  if (person === undefined) throw noPerson()
  return toPersonDetail(person, await listMyTenants(deps.db, id))
}

/**
 * What a platform admin does to a person, as one transaction: the locks, then `change`, then its audit entry. A `change`
 * that answers false had nothing to do, and nothing is written. Answers the person as they were, and whether that happened.
 * Throws `not_found`, and `forbidden` when the caller is no platform admin any more.
 */
export const changePerson = async (
  deps: Pick<ControlDeps, 'db' | 'grants'>,
  request: FastifyRequest,
  who: { id: string } | { email: string },
  input: { action: string; reason?: string | undefined },
  change: (trx: MasterTransaction, person: LockedPerson) => Promise<boolean>,
): Promise<{ id: string; changed: boolean }> => {
  const { personId: by } = identityOf(request)
  const result = await deps.db.transaction().execute(async (trx) => {
    await lockPlatformAdmins(trx, by)
    const person = await lockPerson(trx, who)
    if (person === undefined) throw noPerson()
    const changed = await change(trx, person)
    if (changed) {
      await writeMasterAudit(trx, {
        actor: { kind: 'person', id: by },
        action: input.action,
        entity: { type: 'person', id: person.id },
        ...(input.reason === undefined ? {} : { details: { reason: input.reason } }),
        caller: callerOf(request),
      })
    }
    return { id: person.id, changed }
  })
  deps.grants.forget(`person:${result.id}`)
  return result
}
