import { execFile } from 'node:child_process'
import { readdir, readFile, readlink } from 'node:fs/promises'
import { promisify } from 'node:util'
import type { Programs } from './programs.ts'

const run = promisify(execFile)

const inFolder = async (pid: string, folder: string): Promise<boolean> => {
  try {
    if ((await readlink(`/proc/${pid}/cwd`)) !== folder) return false
    const name = (await readFile(`/proc/${pid}/comm`, 'utf8')).trim()
    return name === 'postgres' || name === 'initdb'
  } catch {
    // Gone, a zombie, or of another user: none of ours.
    return false
  }
}

const output = async (program: string, args: string[]): Promise<string> => {
  try {
    return (await run(program, args)).stdout
  } catch {
    return ''
  }
}

/**
 * The live server programs that work in `folder` (its real path). A pid that a file names proves nothing, it may have
 * been given to another process since: on Linux all processes are asked for their working folder, which finds orphaned
 * backends too. Elsewhere the process `suspect` is asked for its command line.
 */
export const serverProcessesIn = async (folder: string, suspect: number | undefined): Promise<number[]> => {
  if (process.platform === 'linux') {
    const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
    const ours = await Promise.all(pids.map((pid) => inFolder(pid, folder)))
    return pids.filter((_, i) => ours[i]).map(Number)
  }
  if (suspect === undefined) return []
  const ours =
    process.platform === 'win32'
      ? (await output('tasklist', ['/NH', '/FI', `PID eq ${suspect}`])).includes('postgres.exe')
      : (await output('ps', ['-ww', '-o', 'command=', '-p', String(suspect)])).includes(`-D ${folder}`)
  return ours ? [suspect] : []
}

/** SIGINT: end all sessions, write everything, stop. SIGQUIT: stop at once; the next start recovers from the log. */
export type StopSignal = 'SIGINT' | 'SIGQUIT'

/** Sends a signal to a server process; a process that is gone is fine. Windows has no signals but the server's own. */
export const signalServer = async (programs: Programs, pid: number, signal: StopSignal): Promise<void> => {
  if (process.platform === 'win32') {
    await output(programs.pgCtl, ['kill', signal.slice(3), String(pid)])
    return
  }
  try {
    process.kill(pid, signal)
  } catch {
    // It ended between our look and the signal.
  }
}
