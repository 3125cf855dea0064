import { randomBytes } from 'node:crypto'
import { createRequire } from 'node:module'
import { type AddressInfo, createServer } from 'node:net'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { RouterCounters } from '../../src/connection-router/stats.ts'
import { newTenantClient } from '../../src/connection-router/tenant-client.ts'
import { TenantConnection } from '../../src/connection-router/tenant-connection.ts'
import { answerScram } from '../../src/connection-router/wire/scram.ts'
import { Watch } from '../../src/connection-router/wire/watch.ts'
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
    const client = newTenantClient({ ...address, password: secret }, { statementTimeoutMs: 1_000 })
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

/** A server that asks for SCRAM and then says `last`, whatever the client proves; what was said to it, and its address. */
const impostor = async (t: Test, last: (message: (code: number, body: string) => Buffer) => Buffer) => {
  const said: string[] = []
  const message = (code: number, body: string): Buffer => {
    const head = Buffer.alloc(9)
    head.write('R')
    head.writeInt32BE(8 + Buffer.byteLength(body), 1)
    head.writeInt32BE(code, 5)
    return Buffer.concat([head, Buffer.from(body)])
  }
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.on('data', (bytes) => said.push(bytes.toString('latin1')))
    t.teardown(() => socket.destroy())
    socket.once('data', () => {
      socket.write(message(10, 'SCRAM-SHA-256\0\0'))
      socket.once('data', (first) => {
        const nonce = /r=(.+)$/.exec(first.toString('latin1'))?.[1]
        socket.write(message(11, `r=${nonce}server,s=AAAA,i=1`))
        socket.once('data', () => socket.write(last(message)))
      })
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  const { port } = server.address() as AddressInfo
  const quick = { user: 'quick', database: 'quick', password: 'secret', ssl: 'disable' } as const
  return { said, address: { host: '127.0.0.1', port, ...quick } }
}

const wrongSignature = (message: (code: number, body: string) => Buffer): Buffer =>
  message(12, `v=${randomBytes(32).toString('base64')}`)

t.test('a server that does not know the password is found out', async (t) => {
  const { address } = await impostor(t, wrongSignature)
  const client = newTenantClient(address, { statementTimeoutMs: 1_000 })
  client.on('error', () => {})
  await t.rejects(client.connect(), /server signature does not match/)
})

/** AuthenticationOk, ReadyForQuery, and the answer to the identity question, as the tenant's own server would say them. */
const welcome = (): Buffer => {
  const part = (type: string, body: string): Buffer => {
    const head = Buffer.alloc(5)
    head.write(type)
    head.writeInt32BE(4 + body.length, 1)
    return Buffer.concat([head, Buffer.from(body, 'latin1')])
  }
  const text = '\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0'
  const fields = ['database', 'role', 'login'].map((name) => `${name}\0${text}`).join('')
  const row = `\0\x03${'\0\0\0\x05quick'.repeat(3)}`
  return Buffer.concat([
    ...[part('R', '\0\0\0\0'), part('Z', 'I')],
    ...[part('1', ''), part('2', ''), part('T', `\0\x03${fields}`), part('D', row)],
    ...[part('C', 'SELECT 1\0'), part('Z', 'I')],
  ])
}

for (const [name, proof] of [
  ['with a wrong proof', wrongSignature],
  ['without any proof', () => Buffer.alloc(0)],
] as const) {
  t.test(`a server that lets us in ${name} is not believed`, async (t) => {
    const { address, said } = await impostor(t, (message) => Buffer.concat([proof(message), welcome()]))
    const ended = Promise.withResolvers<void>()
    const events = { broken() {}, ended: ended.resolve, settled() {}, mismatch() {}, loginSaid() {} }
    const connection = new TenantConnection(
      address,
      { statementTimeoutMs: 1_000, connectTimeoutMs: 10_000 },
      events,
      {
        tenantId: 'a',
        watch: new Watch(),
        counters: new RouterCounters(),
        askAboutSession: async () => undefined,
      },
    )
    await t.rejects(connection.open(), { code: 'database_unavailable' })
    t.notOk(connection.reusable)
    connection.close()
    await ended.promise
    t.equal(said.join('').match(/select/g)?.length, 1, 'and was asked for its name only')
  })
}
