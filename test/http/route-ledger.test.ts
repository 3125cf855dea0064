import t from 'tap'
import {
  accountRoute,
  memberRoute,
  platformRoute,
  publicRoute,
  tenantRoute,
} from '../../src/http/access-rules.ts'
import type { App } from '../../src/http/app.ts'
import type { Guards } from '../../src/http/guards.ts'
import { openRouteLedger } from '../../src/http/route-ledger.ts'
import { createServer } from '../../src/http/server.ts'
import { createLogger } from '../../src/kernel/log.ts'
import { startFreehold } from '../helpers/freehold.ts'

/** Guards that admit nobody: here only the boot counts. */
const closed: Guards = {
  admit: () => async (_request, reply) => reply.code(401).send(),
  withTenant: (handler) => handler,
}

const appWithLedger = (): App => {
  const app = createServer(createLogger('silent'))
  openRouteLedger(app, closed)
  return app
}
const handler = async () => ({})

const naked: [name: string, register: (app: App) => unknown][] = [
  ['on the root', (app) => app.get('/x', handler)],
  ['with a config that names something else', (app) => app.get('/x', { config: {} }, handler)],
  ['in an awaited plugin', (app) => app.register(async (child) => void child.get('/x', handler))],
  [
    'in a plugin of a plugin',
    (app) => app.register(async (child) => void child.register(async (c) => void c.get('/x', handler))),
  ],
  [
    'with a prefix',
    (app) => app.register(async (child) => void child.get('/x', handler), { prefix: '/auth' }),
  ],
  ['with app.route', (app) => app.route({ method: 'GET', url: '/x', handler })],
  ['with several methods', (app) => app.route({ method: ['GET', 'POST'], url: '/x', handler })],
  [
    'after another route that is fine',
    (app) => app.get('/ok', { config: accountRoute() }, handler).get('/x', handler),
  ],
  ['with app.all', (app) => app.all('/x', handler)],
]
for (const [name, register] of naked) {
  t.test(`a route without a rule stops the boot: ${name}`, async (t) => {
    const app = appWithLedger()
    t.teardown(() => app.close())
    await t.rejects(async () => {
      // Not awaited, as a careless author would.
      void register(app)
      await app.ready()
    }, /does not say who may call it/)
  })
}

t.test('a rule weaker than the address promises stops the boot', async (t) => {
  for (const [url, config] of [
    ['/api/x', publicRoute('test')],
    ['/api/x', accountRoute()],
    ['/platform/x', accountRoute()],
    ['/platform/x', tenantRoute('tenant-api:project:read')],
    ['/platform/x', memberRoute('tenant-api:project:read')],
    ['/x', memberRoute('any member')],
    ['/x', tenantRoute('tenant-api:project:read')],
    ['/x', platformRoute()],
  ] as const) {
    const app = appWithLedger()
    t.teardown(() => app.close())
    t.throws(
      () => app.get(url, { config }, handler),
      /which its path does not allow/,
      `${config.access.scope} ${url}`,
    )
    await t.rejects(async () => app.ready())
  }
})

t.test('a permission that is not in the catalogue neither compiles nor boots', async (t) => {
  const ways = [
    // @ts-expect-error not in the catalogue
    tenantRoute('tenant-api:project:paint'),
    // @ts-expect-error a route names one permission
    memberRoute('tenant-api:project:*'),
    memberRoute('' as 'any member'),
  ]
  for (const config of ways) {
    const app = appWithLedger()
    t.teardown(() => app.close())
    t.throws(() => app.get('/api/x', { config }, handler), /is not in access\/catalogue/)
    await t.rejects(async () => app.ready(), /is not in access\/catalogue/)
  }
})

t.test(
  'the real application: every route has its rule, and the guard is really in front of it',
  async (t) => {
    const { routes, call } = await startFreehold(t)
    t.ok(routes.length > 15)
    const unguarded: string[] = []
    for (const { method, path, access } of routes) {
      const url = path.replace(/:\w+/g, '018f0000-0000-7000-8000-000000000000')
      const { status } = await call(method, url)
      const open = status !== 401
      // Their own handlers ask for a proof.
      const ownProof = ['/auth/login', '/auth/refresh', '/auth/email/resend'].includes(path)
      if (open !== (access.scope === 'public') && !ownProof) unguarded.push(path)
    }
    t.strictSame(unguarded, [])
  },
)
