/**
 * How much faster is a tenant from a spare than a database made on the spot? Runs both in turn, on a durable server of
 * its own, and fails when the ratio of the medians is below 5. Usage: node bench/create-tenant.ts [pairs]
 */
import { chmod, mkdtemp, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { startEmbeddedPostgres } from '../src/embedded-postgres/embedded-postgres.ts'
import { clientOptions } from '../src/kernel/postgres-address.ts'
import { openLandlord } from '../test/helpers/tenant-manager.ts'

const leastRatio = 5
const leastPairs = 15
const pairs = Math.max(leastPairs, Math.trunc(Number(process.argv[2] ?? 25)) || leastPairs)

const milliseconds = async (work: () => Promise<unknown>): Promise<number> => {
  const begin = performance.now()
  await work()
  return performance.now() - begin
}

const quantile = (values: readonly number[], part: number): number =>
  values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) * part)] ?? Number.NaN

const row = (name: string, values: readonly number[]): string =>
  [name.padEnd(42), ...[0, 0.5, 0.9, 1].map((part) => quantile(values, part).toFixed(1).padStart(9))].join('')

const measure = async (dataDir: string): Promise<number> => {
  const postgres = await startEmbeddedPostgres({ dataDir })
  const landlord = await openLandlord(postgres, { spareDatabases: pairs + 1 })
  const client = new pg.Client(clientOptions(postgres.provisioner))
  await client.connect()
  try {
    await landlord.manager.refillSpares()
    const { rows } = await client.query(
      "select datname as name from pg_database where datname ~ '^freehold_template_'",
    )
    const create = (n: number) =>
      client.query(`create database bench_${n} template ${rows[0].name} strategy wal_log`)
    const claim = async (): Promise<void> => {
      if ((await landlord.createTenant()).status !== 'active') throw new Error('there was no spare')
    }
    // Both once before counting: connections, caches.
    await Promise.all([create(pairs), claim()])
    const claims: number[] = []
    const creates: number[] = []
    for (let n = 0; n < pairs; n += 1) {
      claims.push(await milliseconds(claim))
      creates.push(await milliseconds(() => create(n)))
    }
    const ratio = quantile(creates, 0.5) / quantile(claims, 0.5)
    console.log(
      `${'milliseconds'.padEnd(42)}${['least', 'median', '90 %', 'most'].map((h) => h.padStart(9)).join('')}`,
    )
    console.log(row('tenant from a spare (one transaction)', claims))
    console.log(row('create database … template … alone', creates))
    console.log(
      `\n${pairs} pairs, PostgreSQL ${postgres.version}: ${ratio.toFixed(1)} times as fast (at least ${leastRatio})`,
    )
    return ratio
  } finally {
    await client.end()
    await landlord.close()
    await postgres.stop()
  }
}

const folder = await realpath(await mkdtemp(join(tmpdir(), 'bench-create-tenant-')))
await chmod(folder, 0o711)
try {
  if ((await measure(join(folder, 'data'))) < leastRatio) process.exitCode = 1
} finally {
  await rm(folder, { recursive: true, force: true })
}
