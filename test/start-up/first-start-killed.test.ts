import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { findRunningEmbeddedPostgres } from '../../src/embedded-postgres/embedded-postgres.ts'
import { newDataDir, query, refusal, until } from '../embedded-postgres/helpers.ts'
import { randomFrom, seedOfRun } from '../helpers/random.ts'
import { signIn } from './client.ts'
import { type Freehold, startFreehold } from './process.ts'

/** Rows of the master, read behind Freehold's back; undefined while there is no such table. */
const readMaster = async (dataDir: string, statement: string): Promise<unknown[] | undefined> => {
  const server = await findRunningEmbeddedPostgres({ dataDir })
  if (server === undefined) return undefined
  const master = { ...server.superuser, database: 'freehold' }
  if ((await refusal(master)) !== 'connected') return undefined
  return query(master, statement).catch(() => undefined)
}

const platformAdmins = (dataDir: string): Promise<unknown[] | undefined> =>
  readMaster(dataDir, 'select email from people where platform_admin')

const passwordIn = (freehold: Freehold): string | undefined =>
  /^ {2}Password +(\S+) +\(shown/m.exec(freehold.out())?.[1]

/** Starts undisturbed: one platform admin is there, who signs in with the password shown last. */
const mustLetTheAdminIn = async (t: Test, dataDir: string, shownBefore?: string): Promise<void> => {
  const freehold = startFreehold(t, dataDir)
  const { address, adminPassword } = await freehold.ready
  t.same(await platformAdmins(dataDir), [{ email: 'admin@freehold.local' }], 'there is one platform admin')
  const password = adminPassword ?? shownBefore
  t.ok(password, 'their password was shown')
  await signIn(address, 'admin@freehold.local', String(password))
  await freehold.end('SIGINT')
}

t.test(
  'killed before the admin was shown: there is none, and the next start shows one who works',
  async (t) => {
    const dataDir = await newDataDir(t)
    // The spares are built before the admin is shown, and many take a while.
    const killed = startFreehold(t, dataDir, { env: { SPARE_DATABASES: '40' } })
    await until(async () => ((await readMaster(dataDir, 'select from databases')) ?? []).length > 0)
    t.same(await platformAdmins(dataDir), [], 'nobody is admin whose password nobody has seen')
    await killed.end('SIGKILL')
    t.equal(passwordIn(killed), undefined, 'it was killed before it was shown')
    await mustLetTheAdminIn(t, dataDir)
  },
)

t.test('killed at random moments of the first start: in the end one admin, who can sign in', async (t) => {
  const seed = seedOfRun()
  t.comment(`SEED=${seed} repeats this run`)
  const random = randomFrom(seed)
  const dataDir = await newDataDir(t)
  let shown: string | undefined
  for (let round = 0; round < 6; round++) {
    const killed = startFreehold(t, dataDir)
    const moment = Math.round(random() * 2_500)
    await Promise.race([sleep(moment), killed.ready.then(() => sleep(random() * 5))])
    await killed.end('SIGKILL')
    t.comment(`killed after ${moment} ms, password ${passwordIn(killed) === undefined ? 'not ' : ''}shown`)
    shown = passwordIn(killed) ?? shown
  }
  await mustLetTheAdminIn(t, dataDir, shown)
})
