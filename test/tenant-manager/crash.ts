import { spawn } from 'node:child_process'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import type pg from 'pg'
import type { Test } from 'tap'
import { nodeApart } from '../helpers/apart.ts'
import { connectTo, startTestPostgres, type TestPostgres } from '../helpers/postgres.ts'
import { seedOfRun } from '../helpers/random.ts'
import { type Landlord, startLandlord } from '../helpers/tenant-manager.ts'
import { until } from '../helpers/until.ts'
import type { Orders } from './doomed-node.ts'

/** What a doomed node is told to do. */
export type Work = Pick<Orders, 'work' | 'id'>
type Picked = (statement: number, total: number) => boolean

/** An installation whose nodes get killed, and the eye that looks for what they leave. */
export type CrashSite = Landlord & {
  admin: pg.Client
  postgres: TestPostgres
  /**
   * Kills a node with statements on their way to the server, two nodes at a time; returns when the server is at rest.
   * Of those that `which` picks (default: every one) a run takes every fourth, beginning where its seed says, and all of
   * them with STATEMENTS=all.
   */
  killAtStatements(next: () => Promise<Work>, which?: Picked): Promise<void>
  /** Compares everything on the server that could be ours with everything that the master knows. */
  nothingIsLeft(t: Test): Promise<void>
}

const [program, ...first] = nodeApart

/** Runs a node until it kills itself or is done; returns the number of statements of a node that lived. */
const runNode = async (orders: Orders): Promise<number | undefined> => {
  const node = spawn(program, [...first, fileURLToPath(new URL('doomed-node.ts', import.meta.url))], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  node.stdin.end(JSON.stringify(orders))
  const ended = new Promise<NodeJS.Signals | null>((resolve) =>
    node.on('close', (_, signal) => resolve(signal)),
  )
  const printed = await text(node.stdout)
  if ((await ended) === 'SIGKILL') return undefined
  if (printed === '') throw new Error('the node failed by itself')
  return Number(printed)
}

const atRest = async (admin: pg.Client): Promise<void> =>
  until(async () => {
    const { rowCount } = await admin.query(
      "select from pg_stat_activity where application_name = 'freehold provisioner'",
    )
    return rowCount === 0
  })

/** A node takes about a second to come up and die: one run of the suite takes this part of all moments. */
const stride = process.env.STATEMENTS === 'all' ? 1 : 4

export const openCrashSite = async (t: Test): Promise<CrashSite> => {
  const seed = seedOfRun()
  t.comment(`SEED=${seed} repeats the moments of this run`)
  const postgres = await startTestPostgres(t)
  const landlord = await startLandlord(t, postgres, { spareDatabases: 0 })
  const admin = await connectTo(t, postgres.superuser)
  const addresses = { master: postgres.master, provisioner: postgres.provisioner }
  return {
    ...landlord,
    admin,
    postgres,
    killAtStatements: async (next, which = () => true) => {
      const total = await runNode({ ...(await next()), addresses, killAt: 0 })
      if (total === undefined) throw new Error('the first node was to live')
      const picked = Array.from({ length: total }, (_, n) => n + 1).filter((killAt) => which(killAt, total))
      const deaths = picked.filter((_, n) => n % stride === seed % stride)
      const queue = deaths.values()
      const run = async (): Promise<void> => {
        for (const killAt of queue) await runNode({ ...(await next()), addresses, killAt })
      }
      await Promise.all([run(), run()])
      await atRest(admin)
    },
    nothingIsLeft: (t) => nothingIsLeft(t, landlord, admin),
  }
}

const nothingIsLeft = async (
  t: Test,
  { manager, master: { db } }: Landlord,
  admin: pg.Client,
): Promise<void> => {
  const names = async (sql: string): Promise<string[]> =>
    (await admin.query(sql)).rows.map((row) => row.name).sort()
  t.strictSame(await manager.inspect(), [])
  const rows = await db.selectFrom('databases').select(['name', 'status']).execute()
  const known = rows.map((row) => row.name)
  t.strictSame(
    await names("select datname as name from pg_database where datname like 't\\_%'"),
    known.sort(),
  )
  t.strictSame(
    await names("select rolname as name from pg_roles where rolname like 't\\_%'"),
    known.flatMap((name) => [name, `${name}_owner`]).sort(),
  )
  t.strictSame(
    await names("select datname as name from pg_database where datname like 'freehold_unfinished%'"),
    [],
  )
  t.strictSame(await db.selectFrom('operations').selectAll().where('status', '=', 'running').execute(), [])
  t.strictSame(
    rows.filter(({ status }) => status !== 'spare' && status !== 'held'),
    [],
  )
}
