import { existsSync } from 'node:fs'
import { enableCompileCache } from 'node:module'
import { fileURLToPath } from 'node:url'

// What Node compiled is kept beside the packages, so that the next start takes two thirds of the time. Where that folder
// cannot be written nothing is kept. It has to be said before the rest is loaded.
enableCompileCache(fileURLToPath(new URL('../node_modules/.cache/compile', import.meta.url)))
const { OperatorError } = await import('./kernel/errors.ts')
const { loadConfig } = await import('./kernel/config.ts')
const { printMistake } = await import('./print-mistake.ts')

try {
  if (existsSync('.env')) process.loadEnvFile('.env')
  const config = loadConfig(process.env)
  // Loading all the rest takes longest: mistakes in the settings are told before.
  const { runUntilStopped } = await import('./start.ts')
  await runUntilStopped(config)
} catch (error) {
  if (!(error instanceof OperatorError)) throw error
  printMistake(error)
  process.exitCode = 2
}
