import { sql } from 'kysely'
import t from 'tap'
import { mustKeepAnAdmin } from '../../src/control/members/queries.ts'
import { newId } from '../../src/kernel/ids.ts'
import type { MasterTransaction } from '../../src/master/master.ts'
import { findTenant } from '../../src/master/tenants.ts'
import {
  type Answer,
  addMember,
  type Member,
  makePlatformAdmin,
  type SignedIn,
  startNode,
} from '../helpers/freehold.ts'
import { openMailbox } from '../helpers/mailbox.ts'
import { startTestPostgres } from '../helpers/postgres.ts'
import { until } from '../helpers/until.ts'

const postgres = await startTestPostgres(t, 'furnished')
const mailbox = await openMailbox(t)
const { call, service, signUp, newTenant, join } = await startNode(t, postgres, mailbox.env)
const strict = await startNode(t, postgres, { VERIFY_EMAIL: 'before' })
const { db } = service.master

const platformAdmin = async (): Promise<SignedIn> => {
  const operator = await signUp()
  await makePlatformAdmin(service, operator.personId)
  return operator
}

const somebodyWaits = async (): Promise<boolean> =>
  (await service.master.pool.query('select from pg_locks where not granted')).rowCount !== 0

/** Lets a request pass its guard, makes it wait for the tenant's row, and changes something before it goes on. */
const meanwhile = async (
  { tenantId }: Member,
  ask: () => Promise<Answer>,
  change: (trx: MasterTransaction) => Promise<unknown>,
): Promise<Answer> => {
  const waiting = await db.transaction().execute(async (trx) => {
    await trx.selectFrom('tenants').select('id').where('id', '=', tenantId).forUpdate().execute()
    const answer = ask()
    await until(somebodyWaits)
    await change(trx)
    return { answer }
  })
  return waiting.answer
}

const demote = (trx: MasterTransaction, { personId }: Member) =>
  trx.updateTable('memberships').set({ status: 'inactive' }).where('person_id', '=', personId).execute()

const membersOf = async ({ tenantId }: Member): Promise<string[]> =>
  (await db.selectFrom('memberships').select('person_id').where('tenant_id', '=', tenantId).execute()).map(
    ({ person_id }) => person_id,
  )

t.test('nobody becomes a member of a tenant that was suspended meanwhile', async (t) => {
  const admin = await newTenant()
  const { email } = await signUp()
  const add = () => call('POST', '/api/members', { token: admin.token, body: { email, role: 'Viewer' } })
  const answer = await meanwhile(admin, add, (trx) =>
    trx.updateTable('tenants').set({ status: 'suspended' }).where('id', '=', admin.tenantId).execute(),
  )
  t.match(answer, { status: 403, body: { code: 'tenant_suspended' } })
  t.same(await membersOf(admin), [admin.personId])
})

t.test('who lost the permission meanwhile renames no tenant', async (t) => {
  const admin = await newTenant()
  const second = await join(admin, 'Admin')
  const rename = () =>
    call('PATCH', `/tenants/${admin.tenantId}`, { token: second.token, body: { name: 'Renamed' } })
  t.match(await meanwhile(admin, rename, (trx) => demote(trx, second)), {
    status: 403,
    body: { code: 'forbidden' },
  })
  t.not((await findTenant(db, admin.tenantId))?.name, 'Renamed')
})

t.test('a tenant that was deleted meanwhile is not suspended, which would let it be resumed', async (t) => {
  const admin = await newTenant()
  const operator = await platformAdmin()
  const suspend = () =>
    call('POST', `/platform/tenants/${admin.tenantId}/suspend`, {
      token: operator.token,
      body: { reason: 'A test' },
    })
  const answer = await meanwhile(admin, suspend, (trx) =>
    trx.updateTable('tenants').set({ status: 'deleted' }).where('id', '=', admin.tenantId).execute(),
  )
  t.match(answer.body, { code: 'gone' })
  t.equal((await findTenant(db, admin.tenantId))?.status, 'deleted')
})

t.test('a tenant whose erasure has begun is not restored', async (t) => {
  const { tenantId, slug } = await newTenant()
  const { token } = await platformAdmin()
  t.ok((await call('DELETE', `/platform/tenants/${tenantId}`, { token })).status < 300)
  await sql`insert into erasures (id, tenant_id, slug, name, created_at)
            values (${newId()}, ${tenantId}, ${slug}, 'Erased', now())`.execute(db)
  t.match(await call('POST', `/platform/tenants/${tenantId}/restore`, { token }), {
    status: 410,
    body: { code: 'gone' },
  })
})

t.test('who became a member meanwhile keeps the role they have', async (t) => {
  const admin = await newTenant()
  const guest = await signUp()
  await db
    .updateTable('people')
    .set({ email_verified_at: new Date() })
    .where('id', '=', guest.personId)
    .execute()
  await call('POST', '/api/invitations', {
    token: admin.token,
    body: { email: guest.email, role: 'Viewer' },
  })
  const token = (await mailbox.receive(service, guest.email)).at(-1)?.token
  await addMember(service, admin.tenantId, guest.personId, 'Writer')
  t.match(await call('POST', `/invitations/${token}/accept`, { token: guest.token }), {
    status: 409,
    body: { code: 'already_member' },
  })
})

t.test('an inactive member can not leave, and stays what they are', async (t) => {
  const admin = await newTenant()
  const second = await join(admin, 'Viewer')
  const leave = () => call('POST', `/tenants/${admin.tenantId}/leave`, { token: second.token })
  const answer = await meanwhile(admin, leave, (trx) => demote(trx, second))
  t.match(answer, { status: 404, body: { code: 'not_found' } })
  t.same((await membersOf(admin)).sort(), [admin.personId, second.personId].sort())
})

t.test('the Admin who lets another one go is not disabled before that is done', async (t) => {
  const admin = await newTenant()
  const operator = await platformAdmin()
  let isDone = false
  const disabling = await db.transaction().execute(async (trx) => {
    await mustKeepAnAdmin(trx, admin.tenantId)
    const answer = call('POST', `/platform/users/${admin.personId}/disable`, {
      token: operator.token,
      body: { reason: 'A test' },
    }).finally(() => {
      isDone = true
    })
    await until(async () => isDone || (await somebodyWaits()))
    t.equal(isDone, false, 'it waits')
    return { answer }
  })
  t.equal((await disabling.answer).status, 200)
})

t.test('where addresses are proved first, nobody is added whose address is not', async (t) => {
  const admin = await newTenant()
  const { email, personId } = await signUp()
  const add = () =>
    strict.call('POST', '/api/members', { token: admin.token, body: { email, role: 'Viewer' } })
  t.match(await add(), { status: 404, body: { code: 'not_found' } })
  await db.updateTable('people').set({ email_verified_at: new Date() }).where('id', '=', personId).execute()
  t.equal((await add()).status, 201)
})
