import { join } from 'node:path'
import { readSmallFile } from './files.ts'

/** What a running server says of itself in `postmaster.pid` (its source: `src/include/utils/pidfile.h`). */
export type PostmasterFile = Readonly<{ pid: number; port: number; socketFolder: string; ready: boolean }>

export const postmasterFile = (dataFolder: string): string => join(dataFolder, 'postmaster.pid')

/** Reads the file, or answers undefined when there is none or it is not whole yet. It may be a dead server's. */
export const readPostmasterFile = async (dataFolder: string): Promise<PostmasterFile | undefined> => {
  const lines = (await readSmallFile(postmasterFile(dataFolder)))?.split('\n').map((line) => line.trim())
  const pid = Number(lines?.[0])
  if (lines === undefined || !Number.isInteger(pid) || pid <= 1) return undefined
  return { pid, port: Number(lines[3]), socketFolder: lines[4] ?? '', ready: lines[7] === 'ready' }
}
