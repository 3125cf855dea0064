/**
 * The whole suite, as `npm test` runs it: every test file below `test/`, in batches that share a process each (`batch.ts`),
 * one process more at once than there are processors.
 */
import { globSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { dirname } from 'node:path'
import t from 'tap'

/** Files here start processes of their own and wait for them: they share nothing, and go first because they take longest. */
const slowFolders = new Set(['test/isolation', 'test/start-up', 'test/scripts'])

const files = globSync('test/**/*.test.ts').sort()
const isSlow = (file: string): boolean => slowFolders.has(dirname(file))
const quick = files.filter((file) => !isSlow(file))
const batches = files.filter(isSlow).map((file) => [file])
// One more than there are processors, as each now and then waits.
t.jobs = availableParallelism() + 1
// What all files load takes as long as one of them runs, so many share it; fewer in the end, so that all end at once.
for (let at = 0; at < quick.length; ) {
  const size = Math.max(4, Math.ceil((quick.length - at) / t.jobs / 2))
  batches.push(quick.slice(at, at + size))
  at += size
}

t.setTimeout(60 * 60_000)
// A file has a limit of its own; this one is for processes that do not end.
const batchTimeout = 20 * 60_000
for (const batch of batches) {
  const args = ['--import=./test/helpers/preload.ts', 'test/suite/batch.ts', ...batch]
  const name = batch.length === 1 ? `${batch[0]}` : `${batch[0]} … ${batch.at(-1)}`
  t.spawn(process.execPath, args, { buffered: true, timeout: batchTimeout }, name)
}
