import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { readSmallFile } from './files.ts'

/** The server says GMT until it has read its settings. */
const fatal = /^(\S+ \S+) (?:UTC|GMT) \[\d+\] (?:FATAL|PANIC): +(.*)$/

/** The last fatal message among the server's lines since `since`, or undefined. */
const lastFatal = (lines: readonly string[], since: Date): string | undefined =>
  lines
    .map((line) => fatal.exec(line))
    .filter((match) => match !== null && new Date(`${match[1]?.replace(' ', 'T')}Z`) >= since)
    .at(-1)?.[2]

const newestLog = async (dataFolder: string): Promise<string[]> => {
  const folder = join(dataFolder, 'log')
  const names = await readdir(folder).catch(() => [])
  const files = await Promise.all(
    names.map(async (name) => ({ path: join(folder, name), time: (await stat(join(folder, name))).mtimeMs })),
  )
  const newest = files.sort((a, b) => b.time - a.time)[0]
  return newest === undefined ? [] : ((await readSmallFile(newest.path)) ?? '').split('\n')
}

/**
 * Why the server that was started at `since` did not come up: its last fatal message, in its log or, from before it
 * opens that, in `lines` of its standard error.
 */
export const lastFailure = async (
  dataFolder: string,
  lines: readonly string[],
  since: Date,
): Promise<string | undefined> =>
  lastFatal(await newestLog(dataFolder), since) ?? lastFatal(lines, since) ?? lines.at(-1)
