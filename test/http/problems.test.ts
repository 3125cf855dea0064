import t from 'tap'
import { toAppError } from '../../src/http/problems.ts'
import { startFreehold } from '../helpers/freehold.ts'
import { until } from '../helpers/until.ts'

const withCode = (code: string) => Object.assign(new Error('x'), { code })

t.test('a database that is away is no fault of the request, whatever the driver calls it', async (t) => {
  for (const code of ['57P01', '53300', '53100', '08006', '28000', '28P01', '3D000', 'ECONNREFUSED', 'EPIPE'])
    t.equal(toAppError(withCode(code)).code, 'database_unavailable', code)
  for (const message of [
    'Connection terminated unexpectedly',
    'Connection terminated due to connection timeout',
    'Connection terminated',
    'Client was closed and is not queryable',
    'Client has encountered a connection error and is not queryable',
  ]) {
    t.equal(toAppError(new Error(message)).code, 'database_unavailable', message)
  }
  for (const code of ['57014', '40001', '55P03']) t.equal(toAppError(withCode(code)).code, 'overloaded', code)
})

t.test('what nobody foresaw is internal, and says nothing of itself', async (t) => {
  for (const thrown of [new Error('secret'), withCode('42P01'), 'secret', null, undefined, { code: 7 }]) {
    const { code, message } = toAppError(thrown)
    t.equal(code, 'internal')
    t.notMatch(message, /secret/)
  }
})

t.test('when every connection to the master is taken, a request is told to come again', async (t) => {
  const { call, service, signUp } = await startFreehold(t)
  const { token } = await signUp()
  const taken = []
  while (taken.length < Number(service.master.pool.options.max))
    taken.push(await service.master.pool.connect())
  const answer = await call('GET', '/tenants', { token })
  for (const client of taken) client.release()
  t.match(answer.body, { status: 503, code: 'overloaded' })
  t.equal(answer.headers['retry-after'], '1')
})

t.test('when the connection to the master is lost in a request, that is told too', async (t) => {
  const { call, service, signUp } = await startFreehold(t)
  const { token } = await signUp()
  const { pool } = service.master
  const [brake, killer] = [await pool.connect(), await pool.connect()]
  await brake.query('begin; lock table memberships in access exclusive mode')
  const answer = call('GET', '/tenants', { token })
  const killWaiting =
    "select pg_terminate_backend(pid) from pg_stat_activity where wait_event_type = 'Lock' and usename = current_user"
  await until(async () => (await killer.query(killWaiting)).rowCount === 1)
  await brake.query('rollback')
  for (const client of [brake, killer]) client.release()
  t.match((await answer).body, { status: 503, code: 'database_unavailable' })
})
