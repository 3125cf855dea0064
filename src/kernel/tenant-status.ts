import { AppError } from './errors.ts'

export type TenantStatus = 'pending' | 'active' | 'suspended' | 'deleted'

const sentences = {
  pending: ['tenant_not_ready', 'The tenant is still being built; try again in a few seconds.'],
  suspended: ['tenant_suspended', 'This tenant is suspended; ask its operator to resume it.'],
  deleted: ['gone', 'This tenant was deleted.'],
} as const

/** Why nobody may work in a tenant of this status now; undefined when they may. */
export const refusalOfStatus = (status: TenantStatus): AppError | undefined => {
  if (status === 'active') return undefined
  const [code, sentence] = sentences[status]
  return new AppError(code, sentence)
}
