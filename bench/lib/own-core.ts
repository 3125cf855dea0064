import { execFileSync } from 'node:child_process'
import { cpus } from 'node:os'

const place = (pid: number, cores: string): void => {
  execFileSync('taskset', ['--all-tasks', '--cpu-list', '--pid', cores, String(pid)], { stdio: 'ignore' })
}

/** The core of the server that is measured, and the others. */
const own = '0'
const others = `1-${cpus().length - 1}`
let reserved = false

/**
 * Keeps this process, and whatever it starts from now on, off the core of the server that is measured. False where that
 * can't be had: one core, or no `taskset` (util-linux).
 */
export const reserveCore = (): boolean => {
  try {
    if (cpus().length > 1) place(process.pid, others)
    reserved = cpus().length > 1
  } catch {
    reserved = false
  }
  return reserved
}

/** Gives a server the reserved core, if there is one. Of several, only one may be loaded at a time. */
export const giveCore = (pid: number | undefined): void => {
  if (reserved && pid !== undefined) place(pid, own)
}
