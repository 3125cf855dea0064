/**
 * Does anything ever show a tenant what is another one's? The isolation fuzz of the tests, a million requests long: 200 tenants
 * with the same ids, 4 nodes, 40 connections, and everything that can go wrong. Ends with 1 when something was found.
 * Usage: node bench/fuzz.ts [requests]      SEED=<number> repeats the choices of an earlier run.
 */
import { chmod, mkdtemp, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startEmbeddedPostgres } from '../src/embedded-postgres/embedded-postgres.ts'
import { seedOfRun } from '../test/helpers/random.ts'
import { type FuzzReport, fuzz } from '../test/isolation/fuzz.ts'
import { makeWorld } from '../test/isolation/world.ts'
import { countsGiven } from './lib/command-line.ts'

const tenants = 200
const { requests } = countsGiven({ requests: 1_000_000 })
const seed = seedOfRun()

const report = ({ done, findings, served, left, router, tally }: FuzzReport, seconds: number): void => {
  for (const [outcome, count] of Object.entries(tally).sort()) console.log(String(count).padStart(9), outcome)
  console.log(JSON.stringify(router))
  console.log(
    `${done} requests in ${Math.round(seconds)} s; ${(100 * served).toFixed(1)} of 100 over HTTP were served; ` +
      `${left} leases and waiters left over; SEED=${seed}`,
  )
  for (const finding of findings) console.error(finding)
  console.log(
    findings.length === 0 ? 'Nobody was shown what is another one’s.' : `${findings.length} FINDINGS`,
  )
}

const dataDir = await realpath(await mkdtemp(join(tmpdir(), 'bench-freehold-')))
// Started by root, the server runs as a user who must be able to walk to its data.
await chmod(dataDir, 0o711)
const postgres = await startEmbeddedPostgres({ dataDir: join(dataDir, 'data'), durable: false })
try {
  console.log(`SEED=${seed}: making ${tenants} tenants`)
  const world = await makeWorld(postgres, tenants)
  const began = performance.now()
  const seconds = (): number => (performance.now() - began) / 1000
  const outcome = await fuzz(world, {
    ...{ seed, requests },
    onProgress: ({ done, findings }) =>
      console.log(`${Math.round(seconds())} s: ${done} of ${requests}, ${findings.length} findings`),
  })
  report(outcome, seconds())
  if (outcome.findings.length > 0 || outcome.left > 0 || outcome.router.mismatches > 0) process.exitCode = 1
} finally {
  await postgres.stop()
  await rm(dataDir, { recursive: true, force: true, maxRetries: 5 })
}
