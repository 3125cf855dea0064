/**
 * The whole suite, as `npm test` runs it: every test file below `test/`, in batches that share a process each (`batch.ts`),
 * as many processes at once as there are processors.
 */
import { globSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { dirname } from 'node:path'
import t from 'tap'

const filesOfBatch = 8

/** Files here start processes of their own and wait for them: they share nothing, and go first because they take longest. */
const slowFolders = ['test/isolation', 'test/start-up', 'test/scripts']

const byFolder = Map.groupBy(globSync('test/**/*.test.ts').sort(), (file) => dirname(file))
const isSlow = (folder: string): boolean => slowFolders.includes(folder)
const folders = [...byFolder].sort(([a], [b]) => Number(isSlow(b)) - Number(isSlow(a)))

// One more than there are processors, as each now and then waits.
t.jobs = availableParallelism() + 1
t.setTimeout(60 * 60_000)
// A file has a limit of its own; this one is for processes that do not end.
const batchTimeout = 10 * 60_000
for (const [folder, files] of folders) {
  const size = isSlow(folder) ? 1 : filesOfBatch
  for (let at = 0; at < files.length; at += size) {
    const batch = files.slice(at, at + size)
    const args = ['--import=./test/helpers/preload.ts', 'test/suite/batch.ts', ...batch]
    t.spawn(process.execPath, args, { buffered: true, timeout: batchTimeout }, `${folder}, from ${at + 1}`)
  }
}
