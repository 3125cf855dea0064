import { spawn } from 'node:child_process'
import { once } from 'node:events'

/**
 * Runs `work` while nothing else works this machine hard. `BENCH_TURN` may name a command that waits until that is so and
 * then runs the command it is given, such as `flock /tmp/machine.lock`; without it `work` begins at once.
 */
export const inTurn = async <T>(work: () => Promise<T>): Promise<T> => {
  const [command, ...args] = process.env.BENCH_TURN?.split(' ').filter((word) => word !== '') ?? []
  if (command === undefined) return work()
  // It holds the turn until its input ends, and so also when this process is killed.
  const holder = spawn(command, [...args, 'sh', '-c', 'echo; cat'], { stdio: ['pipe', 'pipe', 'inherit'] })
  const ended = once(holder, 'exit')
  await Promise.race([
    once(holder.stdout, 'data'),
    ended.then(() => {
      throw new Error(`${command} ended without giving a turn`)
    }),
  ])
  try {
    return await work()
  } finally {
    holder.stdin.end()
    await ended
  }
}
