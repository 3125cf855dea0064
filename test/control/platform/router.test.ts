import t from 'tap'
import { makePlatformAdmin, startFreehold } from '../../helpers/freehold.ts'

const { call, service, signUp, newTenant } = await startFreehold(t, { CONNECTION_BUDGET: '30' })

const platformAdmin = async (): Promise<string> => {
  const { token, personId } = await signUp()
  await makePlatformAdmin(service, personId)
  return token
}

t.test('platform admins see budgets, shares and what this node does with its own', async (t) => {
  const { token, tenantId } = await newTenant()
  await call('GET', '/api/projects', { token })
  const lease = await service.router.lease(tenantId)
  const answer = await call('GET', '/platform/router', { token: await platformAdmin() })
  lease.release()
  t.equal(answer.status, 200, answer.text)
  t.match(answer.body, {
    node: service.nodeId,
    pools: 1,
    leases: 1,
    waiters: 0,
    opens: Number,
    clusters: [
      {
        name: 'default',
        status: 'open',
        whole: 30,
        granted: 30,
        here: { share: 30, used: 1, idle: 1, busy: 0, waiters: 0, breaker: 'closed' },
        shares: [{ node: service.nodeId, granted: 30 }],
      },
    ],
    nodes: [{ id: service.nodeId, role: 'all', routes: true, version: String, host: String }],
  })
  t.notMatch(answer.text, /password|t_[a-z2-7]{26}/)
})

t.test('a tenant Admin is not allowed, nobody is not signed in', async (t) => {
  const { token } = await newTenant()
  t.match((await call('GET', '/platform/router', { token })).body, { status: 403, code: 'forbidden' })
  t.match((await call('GET', '/platform/router')).body, { status: 401, code: 'unauthenticated' })
})

t.test('the same numbers are metrics', async (t) => {
  const { text } = await call('GET', '/metrics')
  for (const line of [
    /^freehold_router_budget\{cluster="[0-9a-f-]+"\} 30$/m,
    /^freehold_router_permits\{cluster="[0-9a-f-]+"\} 30$/m,
    /^freehold_router_breaker_open\{cluster="[0-9a-f-]+"\} 0$/m,
    /^freehold_router_connections_opening\{cluster="[0-9a-f-]+"\} 0$/m,
    /^freehold_router_leases 0$/m,
  ]) {
    t.match(text, line)
  }
})
