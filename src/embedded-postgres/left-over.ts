import { readdir, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { OperatorError } from '../kernel/errors.ts'
import { removeFolder, unlessMissing } from './files.ts'
import { postmasterFile, readPostmasterFile } from './postmaster-file.ts'
import { serverProcessesIn, signalServer } from './processes.ts'
import type { Programs } from './programs.ts'

/** New data folders are built under this name beside the real one, and renamed when complete. */
export const scratchPrefix = 'postgres.new-'

/**
 * Seconds for a fast stop, which writes what is in memory to disk; for backends that lost their postmaster and only
 * finish a statement; and for an immediate stop.
 */
const patience = { fast: 60, orphans: 5, immediate: 10 }

/** Waits until none of the server's processes is left for which `counts` holds; false when that takes too long. */
const waitUntilGone = async (
  folder: string,
  pid: number | undefined,
  seconds: number,
  counts: (pid: number) => boolean = () => true,
): Promise<boolean> => {
  for (const end = Date.now() + seconds * 1000; ; await sleep(20)) {
    if (!(await serverProcessesIn(folder, pid)).some(counts)) return true
    if (Date.now() > end) return false
  }
}

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

/**
 * Ends the server that a killed Freehold left running on `dataFolder`, and removes a postmaster.pid that would wrongly
 * stop the next one. The caller holds the folder lock, so no live Freehold uses it.
 */
export const stopLeftOverServer = async (dataFolder: string, programs: Programs): Promise<void> => {
  const left = (await readPostmasterFile(dataFolder))?.pid
  const found = await serverProcessesIn(dataFolder, left)
  if (left !== undefined && found.includes(left)) {
    await signalServer(programs, left, 'SIGINT')
    await waitUntilGone(dataFolder, left, patience.fast, (pid) => pid === left)
  }
  // A postmaster takes its backends with it, unless it was being killed just as we looked.
  const orphans = (await serverProcessesIn(dataFolder, left)).filter((pid) => pid !== left)
  for (const pid of orphans) await signalServer(programs, pid, 'SIGINT')
  if (found.length > 0 && !(await waitUntilGone(dataFolder, left, patience.orphans)))
    await stopAtOnce(dataFolder, left, programs)
  // PostgreSQL replaces a dead server's file itself, unless it is empty or its pid now belongs to another process.
  if (left === undefined || isAlive(left)) await unlessMissing(unlink(postmasterFile(dataFolder)))
}

const stopAtOnce = async (
  dataFolder: string,
  left: number | undefined,
  programs: Programs,
): Promise<void> => {
  for (const pid of await serverProcessesIn(dataFolder, left)) await signalServer(programs, pid, 'SIGQUIT')
  if (await waitUntilGone(dataFolder, left, patience.immediate)) return
  const pids = (await serverProcessesIn(dataFolder, left)).join(' ')
  throw new OperatorError(
    `A database server of an earlier run still uses ${dataFolder} and does not stop; end it with: kill -9 ${pids}`,
  )
}

const killAll = (pids: readonly number[], signal: 'SIGTERM' | 'SIGKILL'): void => {
  for (const pid of pids) {
    try {
      process.kill(pid, signal)
    } catch {
      // It ended by itself.
    }
  }
}

/** Removes the folders of first starts that were killed, and ends the programs that may still write into them. */
export const removeScratchFolders = async (dataDir: string): Promise<void> => {
  for (const name of await readdir(dataDir)) {
    if (!name.startsWith(scratchPrefix)) continue
    const folder = join(dataDir, name)
    // Asked first, so that they free their shared memory.
    killAll(await serverProcessesIn(folder, undefined), 'SIGTERM')
    if (!(await waitUntilGone(folder, undefined, 2)))
      killAll(await serverProcessesIn(folder, undefined), 'SIGKILL')
    await removeFolder(folder)
  }
}
