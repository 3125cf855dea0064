import { sql } from 'kysely'
import type { TenantDb } from '../tenant-scope.ts'

/** So many of the newest entries are looked at for the activity: an index gives them in a fraction of a second. */
const entriesAtMost = 100_000
const days = 30

type Counts = Readonly<{
  members: number
  added: number
  workspaces: number
  archived_workspaces: number
  projects: number
  archived_projects: number
}>

const readCounts = async (db: TenantDb): Promise<Counts> => {
  const { rows } = await sql<Counts>`
    select u.*, w.*, p.* from
      (select count(*) filter (where kind = 'member')::int as members,
              count(*) filter (where kind = 'added')::int as added from users where status <> 'removed') u,
      (select count(*) filter (where archived_at is null)::int as workspaces,
              count(archived_at)::int as archived_workspaces from workspaces) w,
      (select count(*) filter (where archived_at is null)::int as projects,
              count(archived_at)::int as archived_projects from projects) p`.execute(db)
  const [counts] = rows
  if (counts === undefined) throw new Error('nothing was counted')
  return counts
}

const readJobs = (db: TenantDb) =>
  db
    .selectFrom('jobs')
    .select(['status', sql<number>`count(*)::int`.as('count')])
    .groupBy('status')
    .execute()

type Day = Readonly<{ date: string; changes: number; looked: number }>

/** Entries of the audit log by day (UTC), oldest day first, today last. */
const readActivity = async (db: TenantDb): Promise<{ activity: Day[]; complete: boolean }> => {
  const { rows } = await sql<Day>`
    with newest as (
      select at from audit_log where at >= date_trunc('day', now() at time zone 'UTC') at time zone 'UTC' - interval '${sql.raw(String(days - 1))} days'
      order by at desc limit ${entriesAtMost}
    ), counted as (
      select (at at time zone 'UTC')::date as day, count(*)::int as changes from newest group by 1
    )
    select to_char(day, 'YYYY-MM-DD') as date, coalesce(changes, 0) as changes, sum(changes) over ()::int as looked
      from generate_series((now() at time zone 'UTC')::date - ${days - 1}::int, (now() at time zone 'UTC')::date, interval '1 day') as day
      left join counted using (day) order by day`.execute(db)
  return { activity: rows, complete: (rows[0]?.looked ?? 0) < entriesAtMost }
}

/** What there is in a tenant, and how busy it was. */
export const readSummary = async (db: TenantDb) => {
  const [counts, jobs, { activity, complete }] = await Promise.all([
    readCounts(db),
    readJobs(db),
    readActivity(db),
  ])
  return { counts, jobs: new Map(jobs.map(({ status, count }) => [status, count])), activity, complete }
}
