import { once } from 'node:events'
import { type AddressInfo, connect, type Socket } from 'node:net'
import t from 'tap'
import { startFreehold } from '../helpers/freehold.ts'

const { app, newTenant, service } = await startFreehold(t)
await app.listen({ host: '127.0.0.1', port: 0 })
const { port } = app.server.address() as AddressInfo

/** Nothing, half a head, a head without its body, and a body that goes on for ever. */
const halves = [
  '',
  'GET /health HTT',
  'POST /auth/login HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{"email":',
  'POST /auth/login HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n',
]

t.test('with 1,000 requests half sent, others are answered', async (t) => {
  const { token } = await newTenant()
  const sockets: Socket[] = []
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
  })
  for (let n = 0; n < 1_000; n += 1) {
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => {})
    sockets.push(socket)
  }
  await Promise.all(sockets.map((socket) => once(socket, 'connect')))
  for (const [n, socket] of sockets.entries()) socket.write(halves[n % halves.length] ?? '')
  for (let n = 0; n < 100; n += 1) {
    const path = n % 2 === 0 ? '/api/projects' : '/health'
    const { status } = await fetch(`http://127.0.0.1:${port}${path}`, {
      headers: { authorization: `Bearer ${token}` },
    })
    t.equal(status, 200)
    // One byte more each, as a slow sender does.
    for (const socket of sockets.slice(n * 10, n * 10 + 10)) socket.write('x')
  }
  t.match(service.router.stats(), { leases: 0, waiters: 0 }, 'none of them holds a connection of a tenant')
})
