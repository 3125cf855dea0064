import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Test } from 'tap'
import { newDataDir } from '../embedded-postgres/helpers.ts'
import { copyFolder, originalOf } from '../helpers/server-copies.ts'
import { startFreehold } from './process.ts'

export type Installed = Readonly<{ dataDir: string; adminPassword: string }>

/**
 * A data folder on which Freehold has been started once, and stopped: a copy of one that this run has made. For tests of
 * what comes after a first start, which takes three times as long as another.
 */
export const newInstalledDataDir = async (t: Test): Promise<Installed> => {
  const original = await originalOf('installed', async (folder) => {
    const first = startFreehold(t, join(folder, 'data'))
    const { adminPassword } = await first.ready
    await first.end('SIGTERM')
    await writeFile(join(folder, 'admin-password'), String(adminPassword))
  })
  const dataDir = await newDataDir(t)
  await copyFolder(join(original, 'data'), dataDir)
  return { dataDir, adminPassword: await readFile(join(original, 'admin-password'), 'utf8') }
}
