import { setTimeout as sleep } from 'node:timers/promises'

/** Waits until `look` finds it true. There is no limit of its own: the file's time limit says what did not come. */
export const until = async (look: () => Promise<boolean>): Promise<void> => {
  while (!(await look())) await sleep(20)
}
