import t from 'tap'
import { startFreehold } from '../../helpers/freehold.ts'
import { rows } from './rows.ts'
import { openWorld } from './world.ts'

/** Every change in a tenant leaves an entry in that tenant's own audit log, whichever database the change is in. */

const freehold = await startFreehold(t)
const { call, service, newTenant, asSuperuser } = freehold
const { objectsOf, request } = openWorld(freehold)

/** They change nothing: questions that need a body. */
const questions = ['POST /api/authorize', 'POST /api/authorize/batch']
/** Routes whose row changes nothing here: what it aims at is in use, is nobody's, or holds it already. */
const idle = [
  'DELETE /api/policies/:id',
  'DELETE /api/roles/:id',
  'POST /api/members',
  'PUT /api/policies/:id/permissions/:permission',
  'PUT /api/tenant/subscription',
]

const unsafe = rows.filter(
  ({ route }) => / \/api\//.test(route) && !route.startsWith('GET ') && !questions.includes(route),
)
const depth = ({ route }: { route: string }): number => route.split('/').length
const isLast = ({ route }: { route: string }): boolean => route.startsWith('DELETE ')
/** What is in something goes before it. */
const inOrder = [
  ...unsafe.filter((row) => !isLast(row)),
  ...unsafe.filter(isLast).sort((a, b) => depth(b) - depth(a)),
]

t.test('every route of a tenant that changes something writes an entry', async (t) => {
  const admin = await newTenant()
  const objects = objectsOf(admin)
  const count = async (): Promise<number> => {
    await service.manager.deliverOutbox(admin.tenantId)
    const [row] = await asSuperuser(admin.tenantId, 'select count(*)::int as n from audit_log')
    return Number(row?.n)
  }
  const done: string[] = []
  for (const row of inOrder) {
    // Makes what it aims at, which is a change of its own.
    const { method, url, body } = await request(row, { objects, slug: admin.slug })
    const before = await count()
    const answer = await call(method, url, { token: admin.token, body })
    if (answer.status >= 300 || idle.includes(row.route)) continue
    done.push(row.route)
    t.ok((await count()) > before, row.route)
  }
  const missing = unsafe.map(({ route }) => route).filter((route) => !done.includes(route))
  t.strictSame(missing.sort(), idle, 'each of the others was tried')
})
