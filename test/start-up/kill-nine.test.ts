import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import {
  findRunningEmbeddedPostgres,
  startEmbeddedPostgres,
} from '../../src/embedded-postgres/embedded-postgres.ts'
import { databaseName, newId } from '../../src/kernel/ids.ts'
import type { PostgresAddress } from '../../src/kernel/postgres-address.ts'
import { newDataDir, query, until } from '../embedded-postgres/helpers.ts'
import { randomFrom, seedOfRun } from '../helpers/random.ts'
import { type Client, clientOf, enter, rowsOf } from './client.ts'
import { consultDoctor } from './doctor.ts'
import { type Freehold, startFreehold } from './process.ts'

const kills = 10
const atOnce = 50
const env = { SPARE_DATABASES: '5', CONNECTION_BUDGET: '40', LOG_LEVEL: 'warn' }

// Building the databases of all these tenants waits on the disk, which others may be using too.
t.setTimeout(300_000)

const seed = seedOfRun()
t.comment(`SEED=${seed} repeats the moments of this run`)
const random = randomFrom(seed)

type Wave = { acknowledged: string[]; unexpected: number[] }

/**
 * Creates tenants, all at once, and kills the process at a random moment: after so many answers, and a bit. Counts as
 * acknowledged what was answered with 201 or 202; the others got no answer at all.
 */
const createUntilKilled = async (person: Client, round: number, freehold: Freehold): Promise<Wave> => {
  const wave: Wave = { acknowledged: [], unexpected: [] }
  // Early moments come more often: each tenant that was made has its database built in the end, and that takes its time.
  const killAfter = Math.floor(random() ** 5 * atOnce)
  const moment = random() * 10
  let answers = 0
  let kill: Promise<unknown> | undefined
  const answered = (): void => {
    if (answers++ >= killAfter) kill ??= sleep(moment).then(() => freehold.end('SIGKILL'))
  }
  const create = async (slug: string): Promise<void> => {
    const answer = await person.call('POST', '/tenants', { name: slug, slug }).catch(() => undefined)
    if (answer === undefined) return
    if (answer.status === 201 || answer.status === 202) wave.acknowledged.push(slug)
    else wave.unexpected.push(answer.status)
    answered()
  }
  await Promise.all(Array.from({ length: atOnce }, (_, i) => create(`r${round}-${i}`)))
  await kill
  return wave
}

/** Every tenant of the person, by status. */
const listTenants = async (person: Client): Promise<Map<string, unknown>> => {
  const all = new Map<string, unknown>()
  for (let cursor = ''; ; ) {
    const answer = await person.call('GET', `/tenants?limit=100${cursor}`)
    for (const { slug, status } of rowsOf(answer)) all.set(String(slug), status)
    if (answer.body.nextCursor === null) return all
    cursor = `&cursor=${answer.body.nextCursor}`
  }
}

/** Writes into the tenant's database and reads it back; answers what is wrong. */
const tryTenant = async (person: Client, slug: string): Promise<string[]> => {
  const inside = await enter(person, slug)
  const { status } = await inside.call('POST', '/api/projects', { name: slug })
  if (status !== 201) return [`${slug}: ${status}`]
  const names = rowsOf(await inside.call('GET', '/api/projects')).map(({ name }) => name)
  return names.join() === slug ? [] : [`${slug}: reads ${names.join()}`]
}

const tryAll = async (person: Client, slugs: readonly string[]): Promise<string[]> => {
  const queue = slugs.values()
  const faults: string[] = []
  const worker = async (): Promise<void> => {
    for (const slug of queue) faults.push(...(await tryTenant(person, slug)))
  }
  await Promise.all(Array.from({ length: 6 }, worker))
  return faults
}

const namesOf = async (address: PostgresAddress, sql: string): Promise<string[]> =>
  ((await query(address, sql)) as { name: string }[]).map(({ name }) => name).sort()

/** True when no job runs or waits. One that was superseded while its process died is spent, and never runs again. */
const isQueueDone = async (master: PostgresAddress): Promise<boolean> => {
  const alive = 'attempts < max_attempts or locked_at is not null'
  return (
    (await query(master, `select from graphile_worker._private_jobs where ${alive} limit 1`)).length === 0
  )
}

const nothingIsOrphaned = async (t: Test, superuser: PostgresAddress): Promise<void> => {
  const master = { ...superuser, database: 'freehold' }
  const known = await namesOf(master, 'select name from databases')
  t.same(
    await namesOf(superuser, `select datname as name from pg_database where datname like 't\\_%'`),
    known,
  )
  t.same(
    await namesOf(superuser, `select rolname as name from pg_roles where rolname like 't\\_%'`),
    known.flatMap((name) => [name, `${name}_owner`]).sort(),
  )
  t.same(await query(master, `select name, status from databases where status not in ('spare', 'held')`), [])
  t.same(
    await query(
      master,
      `select name from databases d where (status = 'held') <> exists (select from tenants where database_id = d.id)`,
    ),
    [],
  )
  t.same(
    await query(
      master,
      `select slug from tenants x where (select count(*) from memberships where tenant_id = x.id) <> 1`,
    ),
    [],
  )
  t.same(await query(master, `select kind, step from operations where status = 'running'`), [])
}

/** Puts two faults on the server behind Freehold's back; answers the names they are found under. */
const plantFaults = async (dataDir: string): Promise<{ orphan: string; open: string }> => {
  const server = await startEmbeddedPostgres({ dataDir })
  try {
    const master = { ...server.superuser, database: 'freehold' }
    const [installation] = (await query(master, 'select id from installation')) as { id: string }[]
    const [open = ''] = await namesOf(master, `select name from databases where status = 'held' limit 1`)
    const orphan = databaseName(newId())
    await query(
      server.superuser,
      `create role ${orphan}_owner nologin`,
      `comment on role ${orphan}_owner is 'freehold ${installation?.id}'`,
      `create database ${orphan} owner ${orphan}_owner`,
      `grant connect on database ${open} to public`,
    )
    return { orphan, open }
  } finally {
    await server.stop()
  }
}

t.test(
  'kill -9 ten times amid 50 tenant creations: every acknowledged tenant works, nothing is orphaned',
  async (t) => {
    const dataDir = await newDataDir(t)
    const acknowledged: string[] = []
    let token: string | undefined
    const started = async (): Promise<{ freehold: Freehold; person: Client }> => {
      const freehold = startFreehold(t, dataDir, { env })
      const { address } = await freehold.ready
      if (token === undefined) {
        const registration = { email: 'ann@example.com', password: 'long enough', firstName: 'Ann' }
        const { body } = await clientOf(address).call('POST', '/auth/register', registration)
        token = String(body.accessToken)
      }
      return { freehold, person: clientOf(address, token) }
    }

    for (let round = 0; round < kills; round++) {
      const { freehold, person } = await started()
      const wave = await createUntilKilled(person, round, freehold)
      t.same(
        wave.unexpected,
        [],
        `round ${round}: killed after ${wave.acknowledged.length} were acknowledged`,
      )
      t.equal(freehold.child.signalCode, 'SIGKILL')
      acknowledged.push(...wave.acknowledged)
    }

    const { freehold, person } = await started()
    const server = await findRunningEmbeddedPostgres({ dataDir })
    if (server === undefined) throw new Error('no server runs')
    const master = { ...server.superuser, database: 'freehold' }
    await until(() => isQueueDone(master))
    const tenants = await listTenants(person)
    t.same(
      acknowledged.filter((slug) => tenants.get(slug) !== 'active'),
      [],
      'every acknowledged tenant is active',
    )
    t.same(
      [...tenants].filter(([, status]) => status !== 'active'),
      [],
      'and so are those whose answer was lost',
    )
    t.comment(`${acknowledged.length} acknowledged of ${tenants.size} tenants`)
    t.same(await tryAll(person, [...tenants.keys()]), [], 'each one writes and reads in its own database')
    await nothingIsOrphaned(t, server.superuser)
    t.same(await consultDoctor(dataDir, env), { code: 0, problems: [] }, 'the doctor finds nothing')
    t.same(await freehold.end('SIGTERM'), { code: 0, signal: null })

    const { orphan, open } = await plantFaults(dataDir)
    const sick = await consultDoctor(dataDir, env)
    t.equal(sick.code, 1)
    t.match(
      sick.problems.sort((a, b) => a.kind.localeCompare(b.kind)),
      [
        { kind: 'open_to_others', subject: open },
        { kind: 'orphan_database', subject: orphan },
      ],
      'and finds what was planted',
    )
    t.equal(sick.problems.length, 2)
  },
)
