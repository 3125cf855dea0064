/**
 * How much faster is a tenant from a spare than a database made on the spot? Measures both and their parts in turn, on a durable
 * server of its own, and fails when `POST /tenants` is not at least 5 times as fast as `CREATE DATABASE … TEMPLATE` alone.
 * Usage: node bench/create-tenant.ts [rounds]
 */
import { chmod, mkdtemp, realpath, rm } from 'node:fs/promises'
import { Agent, type IncomingMessage, request } from 'node:http'
import { availableParallelism, cpus, loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { buildApp } from '../src/app.ts'
import { startEmbeddedPostgres } from '../src/embedded-postgres/embedded-postgres.ts'
import { loadConfig } from '../src/kernel/config.ts'
import { createLogger } from '../src/kernel/log.ts'
import { clientOptions, type PostgresAddress } from '../src/kernel/postgres-address.ts'
import { openService, type Service } from '../src/service.ts'
import { countsGiven } from './lib/command-line.ts'

const leastRatio = 5
const leastRounds = 15
const mostRounds = 75
const rounds = Math.min(mostRounds, Math.max(leastRounds, countsGiven({ rounds: 25 }).rounds))
/**
 * Milliseconds of rest before each measurement, so that none pays for what the one before left to be written. It ends with
 * an empty request and an empty query, so that none pays for waking the processor and the connections either.
 */
const rest = 25

/**
 * Something to be measured; `n` is new each time. `warmUps` runs before the first round do not count: connections, caches,
 * and in our own code the compiler.
 */
type Contest = Readonly<{ name: string; warmUps: number; run: (n: number) => Promise<unknown> }>

const ourWarmUps = 20

type Answer = Record<string, unknown>

/** One connection, kept open. `fetch` would add a millisecond of its own to what is measured. */
const agent = new Agent({ keepAlive: true, maxSockets: 1 })

const ask = async (method: string, url: string, token?: string, body?: unknown): Promise<Answer> => {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
  const headers = {
    ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    ...(body === undefined ? {} : { 'content-type': 'application/json' }),
  }
  request(url, { method, agent, headers }, resolve)
    .on('error', reject)
    .end(body === undefined ? undefined : JSON.stringify(body))
  const response = await promise
  const answer = await text(response)
  const expected = method === 'POST' ? 201 : 200
  if (response.statusCode !== expected) throw new Error(`${url} answered ${response.statusCode}: ${answer}`)
  return JSON.parse(answer)
}

const emptyRequest = (address: string): Contest => ({
  name: 'GET /health, for what HTTP costs',
  warmUps: ourWarmUps,
  run: () => ask('GET', `${address}/health`),
})

const tenantOverHttp = (address: string, token: string): Contest => ({
  name: 'POST /tenants, a spare ready',
  warmUps: ourWarmUps,
  run: async (n) => {
    const { status } = await ask('POST', `${address}/tenants`, token, {
      name: `Tenant ${n}`,
      slug: `http-${n}`,
    })
    if (status !== 'active') throw new Error(`the tenant is ${status}: there was no spare`)
  },
})

const tenantAlone = ({ master, manager }: Service, personId: string): Contest => ({
  name: 'createTenant() alone',
  warmUps: ourWarmUps,
  run: async (n) => {
    const tenant = { name: `Tenant ${n}`, slug: `alone-${n}`, plan: 'free', tier: 'shared' } as const
    const by = { actor: { kind: 'person', id: personId } } as const
    const { status } = await manager.createTenant(master.db, { ...tenant, firstAdmin: personId, by })
    if (status !== 'active') throw new Error(`the tenant is ${status}: there was no spare`)
  },
})

/** On the connection the provisioner uses, from the very template that spares are copied from. */
const createDatabase = (client: pg.Client, template: string, strategy: 'wal_log' | 'file_copy'): Contest => ({
  name: `CREATE DATABASE … STRATEGY ${strategy}`,
  warmUps: 2,
  run: (n) =>
    client.query(`create database bench_${strategy}_${n} template ${template} strategy ${strategy}`),
})

const milliseconds = async (work: () => Promise<unknown>): Promise<number> => {
  const begin = performance.now()
  await work()
  return performance.now() - begin
}

/** Runs the contests in turn, another one first in each round; answers the times of each in milliseconds. */
const compete = async (contests: readonly Contest[], wake: () => Promise<unknown>): Promise<number[][]> => {
  for (const { warmUps, run } of contests) for (let n = 0; n < warmUps; n += 1) await run(rounds + n)
  const times = contests.map((): number[] => [])
  for (let n = 0; n < rounds; n += 1) {
    for (let i = 0; i < contests.length; i += 1) {
      const turn = (i + n) % contests.length
      await sleep(rest)
      await wake()
      times[turn]?.push(await milliseconds(() => contests[turn]?.run(n) ?? Promise.resolve()))
    }
  }
  return times
}

const quantile = (values: readonly number[], part: number): number =>
  values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) * part)] ?? Number.NaN

/** A table in Markdown; `×` is how many times the first contest fits into the median of each. */
const table = (contests: readonly Contest[], times: readonly number[][]): string => {
  const first = quantile(times[0] ?? [], 0.5)
  const rows = contests.map(({ name }, i) => {
    const own = times[i] ?? []
    const cells = [0, 0.5, 0.9, 1].map((part) => quantile(own, part).toFixed(1))
    return [`${name.padEnd(36)}`, ...cells, (quantile(own, 0.5) / first).toFixed(1)]
  })
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, i) => (i === 0 ? cell.padEnd(36) : cell.padStart(6))).join(' | ')} |`
  const head = ['milliseconds', 'least', 'median', '90 %', 'most', '×']
  const rule = ['-'.repeat(36), ...head.slice(1).map(() => '-----:')]
  return [head, rule, ...rows].map(line).join('\n')
}

/** One node, listening, with a spare for every tenant to come and no worker that would refill them meanwhile. */
const openNode = async (addresses: { master: PostgresAddress; provisioner: PostgresAddress }) => {
  const spares = String(2 * (ourWarmUps + rounds))
  const config = loadConfig({ LOG_LEVEL: 'warn', SPARE_DATABASES: spares, ROLE: 'api', RATE_LIMITS: 'off' })
  const grounds = { ...addresses, masterKey: async () => Buffer.alloc(32, 1) }
  const service = await openService(config, grounds, createLogger(config.logLevel))
  await service.manager.refillSpares()
  const { app } = await buildApp(service, async () => [])
  const address = await app.listen({ host: '127.0.0.1', port: 0 })
  const close = async (): Promise<void> => {
    await app.close()
    await service.close()
  }
  return { service, address, close }
}

const signUp = async (address: string): Promise<{ token: string; personId: string }> => {
  const person = { email: 'bench@example.com', password: 'long enough to pass', firstName: 'Bench' }
  const { accessToken, user } = await ask('POST', `${address}/auth/register`, undefined, person)
  return { token: String(accessToken), personId: (user as { id: string }).id }
}

const measure = async (dataDir: string): Promise<number> => {
  const postgres = await startEmbeddedPostgres({ dataDir })
  const node = await openNode(postgres)
  const client = new pg.Client(clientOptions(postgres.provisioner))
  await client.connect()
  try {
    const { token, personId } = await signUp(node.address)
    const { rows } = await client.query(
      "select datname as name from pg_database where datname ~ '^freehold_template_'",
    )
    const contests = [
      tenantOverHttp(node.address, token),
      tenantAlone(node.service, personId),
      createDatabase(client, rows[0].name, 'wal_log'),
      createDatabase(client, rows[0].name, 'file_copy'),
      emptyRequest(node.address),
    ]
    const times = await compete(contests, async () => {
      await ask('GET', `${node.address}/health`)
      await node.service.master.pool.query('select')
      await client.query('select')
    })
    const [cpu] = cpus()
    console.log(
      `${availableParallelism()} cores (${cpu?.model ?? 'unknown'}), load ${loadavg()[0]?.toFixed(1)}; ` +
        `Node ${process.versions.node}, PostgreSQL ${postgres.version} with durable settings; ${rounds} rounds\n`,
    )
    console.log(table(contests, times))
    const [post = Number.NaN, , ...creates] = times.slice(0, 4).map((own) => quantile(own, 0.5))
    return Math.min(...creates) / post
  } finally {
    agent.destroy()
    await client.end()
    await node.close()
    await postgres.stop()
  }
}

const folder = await realpath(await mkdtemp(join(tmpdir(), 'bench-create-tenant-')))
// Started by root, the server runs as a user who must be able to walk to its data.
await chmod(folder, 0o711)
try {
  const ratio = await measure(join(folder, 'data'))
  console.log(
    `\nPOST /tenants is ${ratio.toFixed(1)} times as fast as the faster CREATE DATABASE (at least ${leastRatio})`,
  )
  if (ratio < leastRatio) process.exitCode = 1
} finally {
  await rm(folder, { recursive: true, force: true })
}
