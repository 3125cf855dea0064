import type { AccountTasks } from '../../src/worker.ts'

/** For workers of tests that are about other things. */
export const noAccountTasks: AccountTasks = {
  'send-mail': async () => {},
  'account-request': async () => {},
  'tidy-access': async () => {},
  'end-plans': async () => {},
}
