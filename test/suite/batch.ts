/**
 * Runs test files one after the other in this process: `node test/suite/batch.ts <file> …`. What all files load is loaded
 * once, which takes longer than most of their tests. Each file is a test of its own, with its own teardown, and can as well
 * be run alone by tap.
 */
import { registerHooks } from 'node:module'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Test } from 'tap'
import { running } from './running.ts'

/** Milliseconds. A file that takes longer hangs, unless it says otherwise. */
const limit = 180_000

/** What is loaded in place of a package, and by whom; undefined for all others. */
const stand = (specifier: string, parent: string | undefined): URL | undefined => {
  if (specifier === 'async-hook-domain') return new URL('./domain.ts', import.meta.url)
  if (specifier !== 'tap' || parent !== running.url) return undefined
  return new URL(`./scope.ts?${encodeURIComponent(running.url)}`, import.meta.url)
}

registerHooks({
  resolve: (specifier, context, next) =>
    next(stand(specifier, context.parentURL)?.href ?? specifier, context),
})
const { default: tap } = await import('tap')

/** The test that runs, below all those that wait for it. */
const innermost = (test: {
  readonly activeSubtests: Iterable<unknown>
}): { threw(error: unknown): unknown } => {
  const [below] = test.activeSubtests as Iterable<Test>
  return below === undefined ? (test as Test) : innermost(below)
}
process.on('uncaughtException', (error) => innermost(tap).threw(error))

tap.setTimeout(0)
for (const file of process.argv.slice(2)) {
  await tap.test(file, { timeout: limit }, async (t) => {
    running.scope = t
    running.url = pathToFileURL(resolve(file)).href
    await import(running.url)
  })
}
