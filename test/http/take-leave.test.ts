import { Agent, type IncomingHttpHeaders, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { createServer } from '../../src/http/server.ts'
import { takeLeave } from '../../src/http/take-leave.ts'
import { createLogger } from '../../src/kernel/log.ts'

t.test('nobody is asked to leave before the listener is closed, in a short turn of the loop', async (t) => {
  const app = createServer(createLogger('silent'))
  app.get('/', async () => 'here')
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  t.teardown(() => agent.destroy())
  const ask = (): Promise<IncomingHttpHeaders> =>
    new Promise((resolve, reject) => {
      const sent = request({ host: '127.0.0.1', port, agent }, (answer) => {
        answer.resume().once('end', () => resolve(answer.headers))
      })
      sent.once('error', reject).end()
    })
  await ask()

  // Every turn takes longer than what counts as short.
  let busy = true
  const keepBusy = (): void => {
    for (const begin = performance.now(); performance.now() - begin < 5; );
    if (busy) setImmediate(keepBusy)
  }
  keepBusy()
  const left = takeLeave(app, 50)
  t.equal((await ask()).connection, 'keep-alive')
  t.ok(app.server.listening, 'who calls now is let in')
  busy = false
  const closed = Promise.withResolvers<void>()
  const look = (): void => void (app.server.listening ? setImmediate(look) : closed.resolve())
  look()
  await closed.promise
  t.equal((await ask()).connection, 'close')
  await left
})
