import type { Grounds } from '../../grounds.ts'
import { type Installation, onInstallation } from '../../installation.ts'
import type { Progress } from '../../progress.ts'
import { whatFailed } from './checks.ts'

const provisionPending = async ({ master, manager }: Installation): Promise<void> => {
  const pending = await master.db
    .selectFrom('tenants')
    .select('id')
    .where('status', '=', 'pending')
    .orderBy('id')
    .execute()
  for (const { id } of pending) await manager.provisionTenant(id)
}

/**
 * Brings the installation up to date and repairs what is safe to repair. What a repair hands to the workers is done here
 * and now, because perhaps none runs; beside one it is done once. Returns what could not be done, a line each.
 */
export const fix = async (grounds: Grounds, progress: Progress): Promise<string[]> => {
  const failures: string[] = []
  const attempt = async (text: string, work: () => Promise<unknown>): Promise<void> => {
    progress.step(text)
    await work().catch((error: unknown) => failures.push(whatFailed(error)))
  }
  await attempt('bringing the installation up to date', () =>
    onInstallation(grounds, async (installation) => {
      const { manager } = installation
      await attempt('repairing', () => manager.repair())
      await attempt('building databases for pending tenants', () => provisionPending(installation))
      await attempt('migrating tenant databases', () => manager.migrateDatabases())
      await attempt('building spares', () => manager.refillSpares())
    }),
  )
  return failures
}
