import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { createLogger } from '../../src/kernel/log.ts'
import { openChangeFeed, silenceMs } from '../../src/master/changes.ts'
import { startFreehold } from '../helpers/freehold.ts'
import { connectTo } from '../helpers/postgres.ts'

const freehold = await startFreehold(t)
const { service, newTenant, join } = freehold

/** Waits until `check` holds; the suite's own time limit ends a wait that never does. */
const until = async (check: () => boolean): Promise<void> => {
  while (!check()) await sleep(5)
}

t.test('every change that caches must forget is announced by the master itself', async (t) => {
  const heard: string[] = []
  const feed = await openChangeFeed(
    service.master.address,
    { onChange: (change) => heard.push(change), onGap: () => {} },
    createLogger('silent'),
  )
  t.teardown(() => feed.close())
  const admin = await newTenant()
  const member = await join(admin, 'Viewer')
  const { db } = service.master
  heard.length = 0
  await db.updateTable('people').set({ disabled_at: new Date() }).where('id', '=', member.personId).execute()
  await db
    .updateTable('memberships')
    .set({ status: 'inactive' })
    .where('person_id', '=', member.personId)
    .execute()
  await db.updateTable('tenants').set({ status: 'suspended' }).where('id', '=', admin.tenantId).execute()
  await db
    .updateTable('sessions')
    .set({ ended_at: new Date() })
    .where('person_id', '=', member.personId)
    .execute()
  await db.updateTable('databases').set({ epoch: 2 }).where('status', '=', 'held').execute()
  await db.deleteFrom('policy_permissions').where('permission', '=', 'tenant-api:*').execute()
  await until(() => heard.includes('access'))
  const tenant = `tenant:${admin.tenantId}`
  t.ok(heard.includes(`person:${member.personId}`))
  t.ok(heard.includes(`membership:${admin.tenantId}:${member.personId}`))
  t.equal(heard.filter((change) => change === tenant).length, 2, 'its own row, and its database')
  t.ok(heard.some((change) => change.startsWith('session:')))
})

t.test(
  'a lost channel is not fresh after 2 s at most; once back, everything is forgotten and fresh again',
  async (t) => {
    let gaps = 0
    const feed = await openChangeFeed(
      service.master.address,
      {
        onChange: () => {},
        onGap: () => {
          gaps += 1
        },
      },
      createLogger('silent'),
    )
    t.teardown(() => feed.close())
    t.ok(feed.isFresh())
    t.equal(gaps, 1)
    const superuser = await connectTo(t, freehold.superuser)
    await superuser.query(`alter role freehold_master connection limit 0`)
    t.teardown(() => superuser.query(`alter role freehold_master connection limit -1`))
    await superuser.query(
      `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'freehold changes'`,
    )
    await until(() => !feed.isFresh())
    t.equal(gaps, 1)
    t.ok(silenceMs <= 2_000)
    await superuser.query(`alter role freehold_master connection limit -1`)
    await until(() => feed.isFresh())
    t.equal(gaps, 2)
  },
)
