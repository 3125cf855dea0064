/**
 * One tenant's statements sleep for 30 s, and a thousand of its clients ask at once; what do twenty quiet tenants notice?
 * The whole path over HTTP, a node as its operator starts it. Windows with and without the crowd take turns; the
 * quiet requests come at a fixed rate, and each is timed from when it was due. The sleep is put where the tenant's
 * projects are, behind Freehold's back.
 * Usage: node bench/scenarios/noisy-neighbour.ts [pairs of windows]
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { Agent } from 'node:http'
import { constants, setPriority } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { clientOptions } from '../../src/kernel/postgres-address.ts'
import { countsGiven } from '../lib/command-line.ts'
import { machineLine, report, table } from '../lib/report.ts'
import { type BenchTenant, openWorld, type World } from '../lib/world.ts'
import { ask, codeOf, quantile } from './ask.ts'
import { startNode } from './node-process.ts'
import type { CrowdResult } from './noisy-crowd.ts'

const { priority } = constants
const { pairs } = countsGiven({ pairs: 5 })
const clients = 1_000
const quietTenants = 20
const perSecond = 200
const windowMs = 8_000
/** The crowd comes within this time: as long as the first of them wait until they are told that there is no room. */
const rampMs = 5_000
/** Then a thousand connections are new, which costs what it costs whoever they are; after this time they are not. */
const settleMs = 5_000

type Window = { ms: number[]; errors: Map<string, number> }

/** Makes every look at the tenant's projects take 30 s. */
const lullToSleep = async ({ postgres }: World, { address }: BenchTenant): Promise<void> => {
  const db = new pg.Client(clientOptions({ ...postgres.superuser, database: address.database }))
  await db.connect()
  await db.query(`alter table projects rename to real_projects;
    create view projects as select * from real_projects where (select pg_sleep(30)::text) is not null;
    grant all on projects to ${address.user}`)
  await db.end()
}

const window = async (address: string, tenants: readonly BenchTenant[], agent: Agent): Promise<Window> => {
  const seen: Window = { ms: [], errors: new Map() }
  const url = `${address}/api/projects?limit=20`
  const begin = performance.now()
  const running: Promise<void>[] = []
  const request = async (tenant: BenchTenant, due: number): Promise<void> => {
    const answer = await ask({ url, token: tenant.token, agent }).then(({ status }) => status, codeOf)
    seen.ms.push(performance.now() - due)
    if (answer !== 200) seen.errors.set(String(answer), (seen.errors.get(String(answer)) ?? 0) + 1)
  }
  for (let n = 0; n < (perSecond * windowMs) / 1_000; n += 1) {
    const due = begin + (n * 1_000) / perSecond
    const early = due - performance.now()
    if (early > 0) await sleep(early)
    const tenant = tenants[n % tenants.length]
    // A timer comes late by itself; that is nothing a tenant would notice.
    if (tenant !== undefined) running.push(request(tenant, Math.max(due, performance.now())))
  }
  await Promise.all(running)
  return seen
}

const world = await openWorld({ tenants: quietTenants + 1, maxConnections: 200 })
const [noisy, ...quiet] = world.tenants
if (noisy === undefined) throw new Error('there are no tenants')
await lullToSleep(world, noisy)
const node = await startNode(world.grounds)
const agent = new Agent({ keepAlive: true, maxSockets: 64 })
try {
  const rows: string[][] = []
  const ratios: number[] = []
  const answers: Record<string, number> = {}
  const errors = new Map<string, number>()
  await window(node.address, quiet, agent)
  for (let n = 1; n <= pairs; n += 1) {
    const calm = await window(node.address, quiet, agent)
    const crowd = fork(fileURLToPath(new URL('noisy-crowd.ts', import.meta.url)))
    // They stand for a thousand other machines; their own work is not to be what keeps the node waiting.
    if (crowd.pid !== undefined) setPriority(crowd.pid, priority.PRIORITY_LOW)
    crowd.send({ url: `${node.address}/api/projects?limit=20`, token: noisy.token, clients, rampMs })
    const coming = await window(node.address, quiet, agent)
    await sleep(rampMs + settleMs - windowMs)
    const loud = await window(node.address, quiet, agent)
    const told = once(crowd, 'message')
    crowd.kill('SIGUSR2')
    const [result] = (await told) as [CrowdResult]
    crowd.disconnect()
    await once(crowd, 'exit')
    // What the crowd leaves behind is cancelled.
    await sleep(1_500)
    for (const [status, times] of Object.entries(result)) answers[status] = (answers[status] ?? 0) + times
    for (const [what, times] of [...calm.errors, ...coming.errors, ...loud.errors])
      errors.set(what, (errors.get(what) ?? 0) + times)
    ratios.push(quantile(loud.ms, 0.99) / quantile(calm.ms, 0.99))
    const seen = { before: calm, 'while they come': coming, 'beside the crowd': loud }
    for (const [name, { ms }] of Object.entries(seen))
      rows.push([
        `${n}: ${name}`,
        ...[String(ms.length), ...[0.5, 0.9, 0.99, 1].map((part) => quantile(ms, part).toFixed(2))],
      ])
  }
  const failures = [...errors].map(([what, times]) => `${times} × ${what}`)
  await report({
    name: 'noisy-neighbour',
    text:
      `${machineLine(world.postgres.version)}\n\n` +
      `${table(['milliseconds, quiet tenants', 'requests', 'median', '90 %', 'p99', 'most'], rows)}\n\n` +
      `The crowd was answered: ${JSON.stringify(answers)}`,
    promises: [
      { what: 'p99 beside the crowd ÷ before, median of pairs', seen: quantile(ratios, 0.5), most: 1.25 },
      {
        what: 'errors of quiet tenants',
        seen: [...errors.values()].reduce((sum, times) => sum + times, 0),
        most: 0,
      },
    ],
    failures,
    write: false,
  })
} finally {
  agent.destroy()
  await node.stop()
  await world.close()
}
