import t from 'tap'
import { lockAccess, mustHoldRole } from '../../src/access/granting.ts'
import { newId } from '../../src/kernel/ids.ts'
import type { MasterTransaction } from '../../src/master/master.ts'
import { startFreehold } from '../helpers/freehold.ts'
import { connectTo } from '../helpers/postgres.ts'
import { until } from '../helpers/until.ts'

const freehold = await startFreehold(t)
const { join, newTenant, service } = freehold
const { db } = service.master

/** A role of this tenant (null: of all) with one policy of the same name. */
const newRole = async (tenantId: string | null, permissions: string[]): Promise<string> => {
  const id = newId()
  const named = { id, tenant_id: tenantId, name: `R ${id}` }
  await db.insertInto('roles').values(named).execute()
  await db.insertInto('policies').values(named).execute()
  await db.insertInto('role_policies').values({ role_id: id, policy_id: id }).execute()
  const rows = permissions.map((permission) => ({ policy_id: id, permission }))
  if (rows.length > 0) await db.insertInto('policy_permissions').values(rows).execute()
  return id
}

const systemRole = async (name: string): Promise<string> =>
  (
    await db
      .selectFrom('roles')
      .select('id')
      .where('name', '=', name)
      .where('tenant_id', 'is', null)
      .executeTakeFirstOrThrow()
  ).id

const give = (giver: { tenantId: string; personId: string }, roleId: string) =>
  db.transaction().execute((trx) => mustHoldRole(trx, giver, roleId))

t.test('a role is given only by who holds everything in it, right now', async (t) => {
  const admin = await newTenant()
  const writer = await join(admin, 'Writer')
  const other = await newTenant()
  const [adminRole, writerRole, viewerRole] = await Promise.all(['Admin', 'Writer', 'Viewer'].map(systemRole))
  if (adminRole === undefined || writerRole === undefined || viewerRole === undefined) throw new Error()
  t.match(await give(admin, adminRole), { id: adminRole, name: 'Admin', system: true })
  t.match(await give(writer, viewerRole), { name: 'Viewer' }, 'part of what they hold')
  t.match(await give(writer, writerRole), { name: 'Writer' }, 'all they hold')
  await t.rejects(give(writer, adminRole), {
    code: 'forbidden',
    message: /tenant-api:billing:update.* more;/,
  })

  const own = await newRole(admin.tenantId, ['tenant-api:project:*', 'left-over:thing:*'])
  t.match(await give(writer, own), { id: own, system: false }, 'a pattern is what it matches')
  const wild = await newRole(admin.tenantId, ['tenant-api:*'])
  await t.rejects(give(writer, wild), { code: 'forbidden' })
  t.match(await give(admin, wild), { id: wild })
  t.match(await give(writer, await newRole(null, [])), { system: true }, 'a system-wide one, empty')
  const theirs = await newRole(other.tenantId, [])
  for (const hidden of [theirs, newId()]) await t.rejects(give(admin, hidden), { code: 'not_found' })

  await t.rejects(give({ tenantId: admin.tenantId, personId: other.personId }, own), { code: 'forbidden' })
  const members = db.updateTable('memberships').where('person_id', '=', writer.personId)
  await members.set({ role_id: viewerRole }).execute()
  await t.rejects(give(writer, writerRole), { code: 'forbidden' }, 'what they held a moment ago')
  await members.set({ status: 'inactive' }).execute()
  await t.rejects(give(writer, viewerRole), { code: 'forbidden', message: /not an active member/ })
})

t.test('while a role is being given, what it holds stays; and the other way round', async (t) => {
  const admin = await newTenant()
  const other = await newTenant()
  const roleId = await newRole(admin.tenantId, [])
  const watcher = await connectTo(t, freehold.superuser)
  const waiting = async (): Promise<number> => {
    const { rows } = await watcher.query(
      `select count(*)::int as n from pg_locks where locktype = 'advisory' and not granted`,
    )
    return rows[0].n
  }
  const give = (trx: MasterTransaction) => mustHoldRole(trx, admin, roleId)
  const change = (trx: MasterTransaction) => lockAccess(trx, admin.tenantId)
  const everywhere = (trx: MasterTransaction) => lockAccess(trx, null)
  const cases = [
    ['given, then changed', give, change, true],
    ['given, then changed everywhere', give, everywhere, true],
    ['changed, then given', change, give, true],
    ['changed, then changed', change, change, true],
    ['changed, then changed everywhere', change, everywhere, true],
    ['changed everywhere, then given', everywhere, give, true],
    ['changed everywhere, then changed', everywhere, change, true],
    ['given twice', give, give, false],
    ['changed in two tenants', change, (trx: MasterTransaction) => lockAccess(trx, other.tenantId), false],
  ] as const
  for (const [name, first, second, waits] of cases) {
    await db
      .transaction()
      .execute(async (trx) => {
        await first(trx)
        let done = false
        const later = db.transaction().execute(async (trx) => {
          await second(trx)
          done = true
        })
        await until(async () => done || (await waiting()) > 0)
        t.equal(done, !waits, name)
        return { later }
      })
      .then(({ later }) => later)
  }
})
