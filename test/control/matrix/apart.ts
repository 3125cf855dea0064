import { sql } from 'kysely'
import type { Test } from 'tap'
import type { Answer, Freehold, Member } from '../../helpers/freehold.ts'
import { aims } from './expectations.ts'
import { alsoAimed, rows } from './rows.ts'
import { openWorld } from './world.ts'

type Request = {
  method: string
  url: string
  body?: Record<string, unknown>
  headers?: Record<string, string>
}

/** Where a request may name a tenant beside the one of its token. */
const hints: Record<string, (request: Request, tenantId: string) => Request> = {
  'x-tenant-id': (request, tenantId) => ({ ...request, headers: { 'x-tenant-id': tenantId } }),
  'x-tenant': (request, tenantId) => ({ ...request, headers: { 'x-tenant': tenantId } }),
  query: (request, tenantId) => ({ ...request, url: `${request.url}?tenantId=${tenantId}` }),
  body: (request, tenantId) => ({ ...request, body: { ...request.body, tenantId } }),
}

const ofTenants = rows.filter(({ route }) => route.includes(' /api/'))
const aimed = [...ofTenants, ...alsoAimed].filter(aims)

/** The three tenants of a request: of its token, of what it names, of the object; only when they agree it succeeds. */
export const apart = (t: Test, freehold: Freehold, tenants: readonly Member[]): void => {
  const { call, service, asSuperuser } = freehold
  const { objectsOf, request } = openWorld(freehold)
  const own = new Map(tenants.map((tenant) => [tenant, objectsOf(tenant)]))
  const objectsIn = (tenant: Member) => own.get(tenant) ?? objectsOf(tenant)
  const ask = ({ token }: Member, { method, url, ...rest }: Request): Promise<Answer> =>
    call(method, url, { token, ...rest })

  /** All that the requests below could change. */
  const snapshot = async () => {
    const tables = [
      'roles',
      'policies',
      'role_policies',
      'policy_permissions',
      'memberships',
      'invitations',
      'subscriptions',
    ]
    const held = await Promise.all(
      [...tables, 'system_user_secrets', 'tenants'].map(
        async (name) =>
          (await sql`select to_jsonb(r) as r from ${sql.table(name)} r order by 1`.execute(service.master.db))
            .rows,
      ),
    )
    const people = await service.master.db
      .selectFrom('people')
      .selectAll()
      .where('id', 'in', ({ selectFrom }) => selectFrom('memberships').select('person_id'))
      .orderBy('id')
      .execute()
    const inTenants = await Promise.all(
      tenants.flatMap(({ tenantId }) =>
        ['projects', 'workspaces', 'workspace_members', 'users'].map((name) =>
          asSuperuser(tenantId, `select to_jsonb(r) as r from ${name} r order by 1`),
        ),
      ),
    )
    return { held, people, inTenants }
  }
  const nothingChanges = async (t: Test, work: () => Promise<void>): Promise<void> => {
    // Makes what is aimed at before anybody looks.
    for (const tenant of tenants) for (const row of aimed) await request(row, { objects: objectsIn(tenant) })
    const before = await snapshot()
    await work()
    t.strictSame(await snapshot(), before, 'nothing was changed')
  }

  t.test('every route of a tenant with an id in its path says whose it is', async (t) => {
    for (const { route, of = [] } of ofTenants) {
      t.equal(of.length, route.match(/\/:/g)?.length ?? 0, route)
    }
    t.ok(aimed.length > 20)
  })

  t.test(
    'of the 27 ways to combine the tenants of token, hint and object only the consistent ones succeed',
    async (t) => {
      await nothingChanges(t, async () => {
        for (const row of aimed) {
          for (const object of tenants) {
            const plain = await request({ ...row }, { objects: objectsIn(object) })
            for (const [name, hinted] of Object.entries(hints)) {
              if (name === 'body' && row.body === undefined) continue
              for (const token of tenants) {
                for (const hint of tenants) {
                  if (token === hint && hint === object && name !== 'body') continue
                  const { body } = await ask(token, hinted(plain, hint.tenantId))
                  const at = [token, hint, object].map((tenant) => 'ABC'[tenants.indexOf(tenant)]).join('')
                  const wanted = name === 'body' ? 'validation_failed' : 'not_found'
                  t.equal(body.code, wanted, `${row.route} ${name} ${at}`)
                }
              }
            }
          }
        }
      })
    },
  )

  t.test('without a hint, and with ids of two tenants in one request, it is the same', async (t) => {
    await nothingChanges(t, async () => {
      for (const row of aimed) {
        for (const token of tenants) {
          for (const object of tenants.filter((one) => one !== token)) {
            const [mine, foreign] = [objectsIn(token), objectsIn(object)]
            const paths = [foreign]
            if (row.of?.length === 2 && row.of[1] !== 'permission') {
              const [first, second] = row.of
              paths.push((aim) => (aim === first ? mine : foreign)(aim))
              paths.push((aim) => (aim === second ? mine : foreign)(aim))
            }
            if (aims({ ...row, of: [] })) paths.push(mine)
            for (const [n, path] of paths.entries()) {
              const { body } = await ask(token, await request(row, { objects: foreign, path }))
              t.equal(body.code, 'not_found', `${row.route} ${n}`)
            }
          }
        }
      }
    })
  })

  t.test('consistent ones succeed, with every hint that may stand there', async (t) => {
    for (const row of aimed) {
      for (const [n, name] of ['x-tenant-id', 'x-tenant', 'query'].entries()) {
        const tenant = tenants[n] as Member
        const plain = await request(row, { objects: objectsOf(tenant) })
        const { status, text } = await ask(tenant, hints[name]?.(plain, tenant.tenantId) ?? plain)
        t.ok(status < 300, `${row.route} ${name}: ${status} ${text}`)
      }
    }
  })

  t.test('no route of a tenant answers a request that names another one', async (t) => {
    const [mine, theirs] = tenants as [Member, Member]
    await nothingChanges(t, async () => {
      for (const row of ofTenants) {
        for (const name of ['x-tenant-id', 'x-tenant', 'query']) {
          for (const hint of [theirs.tenantId, theirs.slug, '', 'nobody']) {
            const plain = await request(row, { objects: objectsIn(mine) })
            const { body } = await ask(mine, hints[name]?.(plain, hint) ?? plain)
            t.equal(body.code, 'not_found', `${row.route} ${name} ${hint}`)
          }
        }
      }
    })
  })

  t.test(
    'a path that names a tenant reaches only one of mine, whatever tenant the token is for',
    async (t) => {
      const named = rows.filter(({ of }) => of?.[0] === 'tenant')
      t.ok(named.length > 2)
      await nothingChanges(t, async () => {
        for (const row of named) {
          for (const token of tenants) {
            for (const object of tenants) {
              // What one may do to one's own tenant is shown elsewhere.
              if (token === object && !row.route.startsWith('GET')) continue
              const { status } = await ask(token, await request(row, { objects: objectsIn(object) }))
              t.equal(status, token === object ? 200 : 404, row.route)
            }
          }
        }
      })
    },
  )
}
