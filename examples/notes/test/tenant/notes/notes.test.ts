import t from 'tap'
import { keepsFivePromises } from '../../helpers/five-promises.ts'
import { startFreehold } from '../../helpers/freehold.ts'

const freehold = await startFreehold(t)
const { call, service } = freehold

keepsFivePromises(t, freehold, 'POST /api/notes', {
  method: 'POST',
  url: () => '/api/notes',
  body: { text: 'Mind the gap' },
  status: 201,
  bad: [{ name: 'an empty note', body: { text: '' } }],
  forbiddenTo: 'Viewer',
  make: async () => '',
  elsewhere: (answer, _id, t) => t.equal(answer.status, 201, 'each tenant creates in its own database'),
})

keepsFivePromises(t, freehold, 'GET /api/notes', {
  method: 'GET',
  url: () => '/api/notes',
  status: 200,
  bad: [{ name: 'a made-up cursor', url: '/api/notes?cursor=abc' }],
  forbiddenTo: 'Basic',
  make: async ({ token }) =>
    String((await call('POST', '/api/notes', { token, body: { text: 'Mind the gap' } })).body.id),
  elsewhere: (answer, _id, t) => t.strictSame(answer.body, { data: [], nextCursor: null }),
})

t.test('a job counts the words of every note', async (t) => {
  const { token, tenantId, personId } = await freehold.newTenant()
  await call('POST', '/api/notes', { token, body: { text: 'Mind the gap' } })
  const job = { type: 'notes.count-words', payload: {}, idempotencyKey: 'first' }
  const queued = await call('POST', '/api/jobs', { token, body: job })
  t.equal(queued.status, 202, queued.text)
  await service.jobRunner.look(tenantId)
  const { body } = await call('GET', `/api/jobs/${queued.body.id}`, { token })
  t.match(body, { status: 'succeeded', result: { notes: 1 } })
  t.match((await call('GET', '/api/notes', { token })).body, { data: [{ words: 3, createdBy: personId }] })
})
