/**
 * Loaded before every test file (`.taprc`): gives all files of one run a folder of their own for what is temporary, in
 * memory where there is enough of it. Nothing that a test promises needs a disk, and a disk that many servers write to at
 * once decides how long each of them takes. The folder is removed by the next run.
 */
import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, statfsSync } from 'node:fs'
import { enableCompileCache } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const prefix = 'freehold-run-'
const memory = '/dev/shm'
/** Bytes: two hundred tenants' databases, and what runs beside them. */
const enough = 6 * 2 ** 30

/** Programs are started from there too, which some machines forbid. */
const isRoomy = (): boolean => {
  try {
    const mount = readFileSync('/proc/mounts', 'utf8')
      .split('\n')
      .find((line) => line.split(' ')[1] === memory)
    const { bavail, bsize } = statfsSync(memory)
    return mount !== undefined && !/\bnoexec\b/.test(mount) && bavail * bsize >= enough
  } catch {
    return false
  }
}

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

const sweep = (place: string): void => {
  for (const name of readdirSync(place)) {
    if (!name.startsWith(prefix) || isAlive(Number(name.slice(prefix.length)))) continue
    try {
      rmSync(join(place, name), { recursive: true, force: true })
    } catch {
      // Another user's, or being removed by somebody else.
    }
  }
}

/** The run is the process that starts the files. What a file starts itself has been told already. */
if (process.env.FREEHOLD_TEST_RUN === undefined) {
  const place = isRoomy() ? memory : tmpdir()
  const folder = join(place, `${prefix}${process.ppid}`)
  sweep(place)
  mkdirSync(folder, { recursive: true })
  // Servers run as another user when we are root.
  chmodSync(folder, 0o1777)
  process.env.FREEHOLD_TEST_RUN = folder
  process.env.TMPDIR = folder
  process.env.NODE_COMPILE_CACHE = join(folder, 'compiled')
}
enableCompileCache(process.env.NODE_COMPILE_CACHE)
