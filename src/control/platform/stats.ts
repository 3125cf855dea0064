import { sql } from 'kysely'
import { type Static, type TSchema, Type } from 'typebox'
import { platformRoute } from '../../http/access-rules.ts'
import type { App } from '../../http/app.ts'
import { answers, Id } from '../../http/schemas.ts'
import type { MasterDb } from '../../master/master.ts'
import { countJobs } from '../../queue/count-jobs.ts'
import type { ControlDeps } from '../control-deps.ts'
import type { OwnRouter } from './router.ts'

const counts = <const K extends string>(...names: K[]) =>
  Type.Object(
    Object.fromEntries(names.map((name) => [name, Type.Integer()])) as Record<
      K,
      ReturnType<typeof Type.Integer>
    >,
  )
const described = <T extends TSchema>(schema: T, description: string): T => ({ ...schema, description })

const StatsView = Type.Object(
  {
    tenants: counts('pending', 'active', 'suspended', 'deleted'),
    people: counts('total', 'disabled', 'platformAdmins', 'systemUsers'),
    sessions: described(counts('live'), 'People and system users that are signed in'),
    databases: counts('building', 'spare', 'held', 'retired', 'erasing'),
    operations: described(counts('running', 'failedToday'), 'Failed: within the last 24 hours, and still so'),
    jobs: described(counts('queued', 'running', 'failed'), 'Failed: those with no attempts left'),
    nodes: counts('alive'),
    router: Type.Object(
      { node: Id(), ...counts('pools', 'leases', 'waiters', 'opens', 'steals', 'timeouts').properties },
      { description: 'Of the node that answers; GET /platform/router has the rest' },
    ),
  },
  { title: 'PlatformStats' },
)
type StatsView = Static<typeof StatsView>

/** One statement: all counts are of one moment. */
const countMaster = async (db: MasterDb): Promise<Omit<StatsView, 'jobs' | 'router'>> => {
  const { rows } = await sql<{ counts: Omit<StatsView, 'jobs' | 'router'> }>`
    select json_build_object(
      'tenants', (select json_build_object(
          'pending', count(*) filter (where status = 'pending'),
          'active', count(*) filter (where status = 'active'),
          'suspended', count(*) filter (where status = 'suspended'),
          'deleted', count(*) filter (where status = 'deleted')) from tenants),
      'people', (select json_build_object(
          'total', count(*) filter (where kind = 'person'),
          'disabled', count(*) filter (where kind = 'person' and disabled_at is not null),
          'platformAdmins', count(*) filter (where platform_admin and disabled_at is null),
          'systemUsers', count(*) filter (where kind = 'system')) from people),
      'sessions', (select json_build_object('live', count(*)) from sessions
          where ended_at is null and expires_at > now() and idle_expires_at > now()),
      'databases', (select json_build_object(
          'building', count(*) filter (where status = 'building'),
          'spare', count(*) filter (where status = 'spare'),
          'held', count(*) filter (where status = 'held'),
          'retired', count(*) filter (where status = 'retired'),
          'erasing', count(*) filter (where status = 'erasing')) from databases),
      'operations', (select json_build_object(
          'running', count(*) filter (where status = 'running'),
          'failedToday', count(*) filter (where status = 'failed' and updated_at > now() - interval '1 day')) from operations),
      'nodes', (select json_build_object('alive', count(*)) from nodes where expires_at > now())
    ) as counts`.execute(db)
  const row = rows[0]
  if (row === undefined) throw new Error('a select without a table answered no row')
  return row.counts
}

/** The numbers of a dashboard. Asks only the master and this node's own memory. */
export const statsRoute = (app: App, deps: Pick<ControlDeps, 'db'>, own: OwnRouter): void => {
  app.get(
    '/platform/stats',
    {
      config: platformRoute(),
      schema: {
        tags: ['Platform'],
        summary: 'The installation in numbers',
        response: answers({ 200: StatsView }),
      },
    },
    async () => {
      const [counted, jobs] = await Promise.all([countMaster(deps.db), countJobs(deps.db)])
      const { pools, leases, waiters, opens, steals, timeouts } = own.stats()
      const router = { node: own.nodeId, pools, leases, waiters, opens, steals, timeouts }
      return { ...counted, jobs, router }
    },
  )
}
