import type pg from 'pg'
import { randomFrom } from '../helpers/random.ts'
import { openHands, troubles } from './chaos.ts'
import { useRouter } from './direct.ts'
import { type Finding, type FuzzOptions, FuzzRun, openUser, type User } from './fuzz-run.ts'
import { type FuzzNode, openNodes } from './nodes.ts'
import { request, weighted } from './requests.ts'
import { openSlowWay } from './slow-way.ts'
import type { Tenant } from './tenant.ts'
import type { FuzzWorld } from './world.ts'

export type FuzzReport = Readonly<{
  done: number
  findings: readonly Finding[]
  /** How often each outcome of each kind was seen. */
  tally: Readonly<Record<string, number>>
  /** Of the requests over HTTP, those with a status of 2xx, from 0 to 1. */
  served: number
  /** Of all nodes together. */
  router: Readonly<Record<(typeof counters)[number], number>>
  /** Leases and waiters that were left over. */
  left: number
}>

const nodeCount = 4
const progressMs = 5_000
const users = 24
/** How often something goes wrong, for each request. */
const troubleRate = 1 / 60
/** How much of the work is done with a router directly. */
const directRate = 0.2
/** For so many requests most of them go to the same few tenants, who use nearly as many connections as a node has. */
const fashionRequests = 1_000
const fashionable = 3
const fashionRate = 0.97

const counters = ['opens', 'openFailures', 'steals', 'retries', 'cancels', 'spoiled', 'mismatches'] as const

/** Most ask for what is in fashion: each node can keep a part of that open, and all the others come in between. */
const pickTenant = ({ run, random }: User): Tenant => {
  const { tenants, done } = run
  const first = Math.floor(done / fashionRequests) * 7
  const at = random() < fashionRate ? first + random() * fashionable : random() * tenants.length
  const tenant = tenants[Math.floor(at) % tenants.length]
  if (tenant === undefined) throw new RangeError('no tenants')
  return tenant
}

const work = async (user: User, hands: pg.Pool): Promise<void> => {
  const { run, random } = user
  while (!run.over) {
    if (random() < troubleRate) {
      const { name, make } = weighted(random, troubles)
      run.count('trouble', name)
      await make({ user, hands })
    }
    const tenant = pickTenant(user)
    if (random() < directRate) await useRouter(user, tenant)
    else await request(user, tenant)
    run.done += 1
  }
  for (const line of user.lines.flat()) line.close()
}

const isStatus = /^(.*) (\d{3})$/

const servedOf = (tally: ReadonlyMap<string, number>): number => {
  const count = (kind: RegExp): number =>
    [...tally].reduce((sum, [key, n]) => sum + (kind.test(isStatus.exec(key)?.[2] ?? '') ? n : 0), 0)
  return count(/^2/) / Math.max(1, count(/./))
}

const routerOf = (nodes: readonly FuzzNode[]): FuzzReport['router'] => {
  const sum = (key: (typeof counters)[number]): number =>
    nodes.reduce((total, { service }) => total + service.router.stats()[key], 0)
  return Object.fromEntries(counters.map((key) => [key, sum(key)])) as FuzzReport['router']
}

/** Those whose client hung up give their lease back a moment later. */
const leftOver = async (nodes: readonly FuzzNode[]): Promise<number> => {
  const count = (): number =>
    nodes.reduce(
      (sum, { service }) => sum + service.router.stats().leases + service.router.stats().waiters,
      0,
    )
  for (let tries = 0; tries < 200 && count() > 0; tries += 1)
    await new Promise((resolve) => setTimeout(resolve, 50))
  return count()
}

/** Opens the nodes and lets everybody loose on them until so many requests are over, or enough was found. */
export const fuzz = async (world: FuzzWorld, options: FuzzOptions): Promise<FuzzReport> => {
  const { seed, onProgress } = options
  const logged = (evidence: string): void =>
    run.found({ what: 'a canary in the log', where: 'log', tenant: -1, evidence })
  const way = await openSlowWay(world.master, randomFrom(seed))
  const { provisioner } = world
  const nodes = await openNodes({ master: way.address, provisioner }, nodeCount, logged)
  const run = new FuzzRun(world, nodes, options)
  const hands = openHands({ run })
  const timer = setInterval(() => onProgress?.(run), progressMs)
  try {
    await Promise.all(
      Array.from({ length: users }, (_, i) => work(openUser(run, randomFrom(seed + i * 0x9e3779b1)), hands)),
    )
    const left = await leftOver(nodes)
    return {
      ...{ done: run.done, findings: run.findings, tally: Object.fromEntries(run.tally) },
      ...{ served: servedOf(run.tally), router: routerOf(nodes), left },
    }
  } finally {
    clearInterval(timer)
    await hands.end()
    await Promise.all(nodes.map((node) => node.close()))
    await way.close()
  }
}
