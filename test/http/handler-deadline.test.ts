import { once } from 'node:events'
import { type AddressInfo, connect } from 'node:net'
import { Readable } from 'node:stream'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import type { App } from '../../src/http/app.ts'
import { limitHandlers } from '../../src/http/handler-deadline.ts'
import { registerProblems } from '../../src/http/problems.ts'
import { Problem } from '../../src/http/schemas.ts'
import { until } from '../helpers/until.ts'

const start = async (t: Test) => {
  const app = Fastify() as unknown as App
  app.addSchema(Problem)
  registerProblems(app)
  const limited = limitHandlers(app, { deadlineMs: 60, lookMs: 20 })
  const late = Promise.withResolvers<void>()
  const stream = new Readable({ read: () => {} })
  app.get('/fast', async () => ({ ok: true }))
  app.get('/late', async () => {
    await late.promise
    return { ok: true }
  })
  app.get('/stream', async () => stream)
  await app.listen({ host: '127.0.0.1', port: 0 })
  t.teardown(() => app.close())
  const { port } = app.server.address() as AddressInfo
  return { limited, late, stream, port, url: `http://127.0.0.1:${port}` }
}

t.test('a handler that does not answer in time is answered for, once', async (t) => {
  const { url, late, limited } = await start(t)
  const answer = await fetch(`${url}/late`)
  t.equal(answer.status, 503)
  t.equal(answer.headers.get('retry-after'), '1')
  t.match(await answer.json(), { code: 'overloaded' })
  late.resolve()
  t.match(await (await fetch(`${url}/fast`)).json(), { ok: true }, 'its late answer harms nobody')
  await until(async () => limited.running === 0)
})

t.test('an answer that has begun may take its time', async (t) => {
  const { url, stream, limited } = await start(t)
  const answering = fetch(`${url}/stream`)
  stream.push('first,')
  const answer = await answering
  await until(async () => limited.running === 0)
  stream.push('last')
  stream.push(null)
  t.equal(await answer.text(), 'first,last')
})

t.test('a client that left is forgotten', async (t) => {
  const { port, limited } = await start(t)
  const socket = connect(port, '127.0.0.1')
  socket.write('GET /late HTTP/1.1\r\nhost: x\r\n\r\n')
  await until(async () => limited.running === 1)
  socket.destroy()
  await once(socket, 'close')
  await until(async () => limited.running === 0)
})
