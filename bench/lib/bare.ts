import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { clientOptions } from '../../src/kernel/postgres-address.ts'
import { type ProjectRow, projectQuery } from '../servers/project.ts'
import type { BenchTenant } from './world.ts'

/** Connects to a tenant's database, reads its project, and answers the milliseconds until it was there. Then hangs up. */
export const bareConnect = async ({ address, projectId }: BenchTenant): Promise<number> => {
  const client = new pg.Client(clientOptions(address))
  const begin = performance.now()
  await client.connect()
  try {
    const { rows } = await client.query<ProjectRow>(projectQuery(projectId))
    if (rows[0]?.id !== projectId)
      throw new Error('a bare connection found another project than it asked for')
    return performance.now() - begin
  } finally {
    await client.end()
  }
}

/** How many such connects a second succeed with so many under way at a time, each to another tenant than the one before. */
export const connectsPerSecond = async (
  tenants: readonly BenchTenant[],
  options: { concurrency: number; seconds: number },
): Promise<number> => {
  let [next, done, over] = [0, 0, false]
  const begin = performance.now()
  const keepConnecting = async (): Promise<void> => {
    while (!over) {
      const tenant = tenants[next++ % tenants.length]
      if (tenant === undefined) throw new Error('there is nobody to connect to')
      await bareConnect(tenant)
      if (!over) done += 1
    }
  }
  let took = 0
  const course = async (): Promise<void> => {
    await sleep(options.seconds * 1000)
    over = true
    took = (performance.now() - begin) / 1000
  }
  await Promise.all([course(), ...Array.from({ length: options.concurrency }, keepConnecting)])
  return done / took
}

/** The number of connects at a time, of those tried, at which most succeed in a second. */
export const bestConcurrency = async (tenants: readonly BenchTenant[], seconds: number): Promise<number> => {
  let best = { concurrency: 1, rate: 0 }
  for (const concurrency of [1, 2, 4, 8, 12, 16, 24]) {
    const rate = await connectsPerSecond(tenants, { concurrency, seconds })
    if (rate > best.rate) best = { concurrency, rate }
  }
  return best.concurrency
}
