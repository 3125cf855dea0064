import { randomBytes } from 'node:crypto'
import { createRequire } from 'node:module'
import { type AddressInfo, createServer } from 'node:net'
import fc from 'fast-check'
import t from 'tap'
import { newTenantClient } from '../../src/connection-router/tenant-client.ts'
import { answerScram } from '../../src/connection-router/wire/scram.ts'
import { randomSecret, scramVerifier } from '../../src/kernel/crypto.ts'
import { connectTo, startTestPostgres } from '../helpers/postgres.ts'

/** The driver's own way, which ours must agree with. */
type Session = {
  message: string
  mechanism: string
  clientNonce: string
  response: string
  serverSignature?: string
}
const sasl = createRequire(import.meta.url)('pg/lib/crypto/sasl') as {
  startSession(mechanisms: string[]): Session
  continueSession(session: Session, password: string, data: string, stream?: unknown): Promise<void>
}
const printable = fc.string({
  unit: fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code)),
  minLength: 1,
  maxLength: 50,
})

t.test('the answer is the one that the driver gives', async (t) => {
  await fc.assert(
    fc.asyncProperty(printable, fc.integer({ min: 1, max: 64 }), async (password, iterations) => {
      const session = sasl.startSession(['SCRAM-SHA-256'])
      const first = session.response
      const data = `r=${session.clientNonce}${randomBytes(9).toString('base64')},s=${randomBytes(16).toString('base64')},i=${iterations}`
      await sasl.continueSession(session, password, data)
      const { response, serverSignature } = session
      t.strictSame(answerScram(password, first, data), { response, serverSignature })
    }),
    { numRuns: 50 },
  )
})

t.test('whatever is not the plain case is left to the driver', async (t) => {
  const first = 'n,,n=*,r=abc'
  const good = 'r=abcdef,s=AAAA,i=1'
  t.ok(answerScram('secret', first, good))
  const others: [string, string, string][] = [
    ['secr\u00e9t', first, good],
    ['', first, good],
    ['secret', 'p=tls-server-end-point,,n=*,r=abc', good],
    ['secret', 'y,,n=*,r=abc', good],
    ['secret', first, 'r=xyzdef,s=AAAA,i=1'],
    ['secret', first, 'r=abc,s=AAAA,i=1'],
    ['secret', first, 'r=abcdef,s=AA,i=1'],
    ['secret', first, 'r=abcdef,s=AAAA,i=0'],
    ['secret', first, 'r=abcdef,s=AAAA,i=65'],
    ['secret', first, 'm=x,r=abcdef,s=AAAA,i=1'],
    ['secret', first, 'e=other-error'],
  ]
  for (const [password, mine, data] of others) t.equal(answerScram(password, mine, data), undefined, data)
})

t.test('the login of a tenant takes none of the driver’s jobs', async (t) => {
  const postgres = await startTestPostgres(t)
  const admin = await connectTo(t, postgres.superuser)
  const password = randomSecret()
  await admin.query(`create role quick login password '${scramVerifier(password, 1)}'`)
  await admin.query('create database quick owner quick')
  const address = { ...postgres.superuser, user: 'quick', database: 'quick', password }
  const { subtle } = globalThis.crypto
  const { deriveBits } = subtle
  let jobs = 0
  subtle.deriveBits = ((...given: Parameters<typeof deriveBits>) => {
    jobs += 1
    return deriveBits.apply(subtle, given)
  }) as typeof deriveBits
  t.teardown(() => {
    subtle.deriveBits = deriveBits
  })
  const connect = async (secret: string): Promise<unknown> => {
    const client = newTenantClient({ ...address, password: secret }, 1_000)
    client.on('error', () => {})
    try {
      await client.connect()
      return (await client.query('select current_user as name')).rows
    } finally {
      await client.end().catch(() => {})
    }
  }
  t.strictSame(await connect(password), [{ name: 'quick' }])
  t.equal(jobs, 0)
  await t.rejects(connect(randomSecret()), { code: '28P01' }, 'a wrong password is refused as ever')
  await admin.query(`alter role quick password '${scramVerifier(password, 4096)}'`)
  t.strictSame(await connect(password), [{ name: 'quick' }], 'many iterations are left to the driver')
  t.equal(jobs, 1)
})

t.test('a server that does not know the password is found out', async (t) => {
  const message = (code: number, body: string): Buffer => {
    const head = Buffer.alloc(9)
    head.write('R')
    head.writeInt32BE(8 + Buffer.byteLength(body), 1)
    head.writeInt32BE(code, 5)
    return Buffer.concat([head, Buffer.from(body)])
  }
  const server = createServer((socket) => {
    socket.on('error', () => {})
    t.teardown(() => socket.destroy())
    socket.once('data', () => {
      socket.write(message(10, 'SCRAM-SHA-256\0\0'))
      socket.once('data', (first) => {
        const nonce = /r=(.+)$/.exec(first.toString('latin1'))?.[1]
        socket.write(message(11, `r=${nonce}server,s=AAAA,i=1`))
        const signature = randomBytes(32).toString('base64')
        socket.once('data', () => socket.write(message(12, `v=${signature}`)))
      })
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  const { port } = server.address() as AddressInfo
  const client = newTenantClient(
    { host: '127.0.0.1', port, user: 'quick', database: 'quick', password: 'secret', ssl: 'disable' },
    1_000,
  )
  client.on('error', () => {})
  await t.rejects(client.connect(), /server signature does not match/)
})
