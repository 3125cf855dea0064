import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readdir } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { Transform } from 'node:stream'
import t, { type Test } from 'tap'
import type { PostgresAddress } from '../../src/kernel/postgres-address.ts'
import { newDataDir, query, start, until } from '../embedded-postgres/helpers.ts'
import { askUntilReady, clientOf, createTenantWithProject, projectNames, signIn, signUp } from './client.ts'
import { newWorkingFolder, startFreehold } from './process.ts'

// A server of somebody else: Freehold knows nothing of it but the addresses that it is given.
const server = await start(t, { dataDir: await newDataDir(t) })

const urlOf = ({ user, password, host, port, database }: PostgresAddress): string =>
  `postgres://${user}:${password}@localhost:${port}/${database}?host=${encodeURIComponent(host)}`

const masterKey = Buffer.alloc(32, 3).toString('base64')

/** A role that can log in, and a database of the same name that it owns. */
const newOwner = async (name: string, attributes = ''): Promise<PostgresAddress> => {
  const password = randomBytes(16).toString('hex')
  await query(
    server.superuser,
    `create role ${name} login ${attributes} password '${password}'`,
    `create database ${name} owner ${name}`,
  )
  return { ...server.superuser, user: name, database: name, password }
}

/** What Freehold is told: the master's address, its key, and perhaps the provisioner's address. */
const given = (master: PostgresAddress, provisioner?: PostgresAddress): Record<string, string> => ({
  MASTER_DATABASE_URL: urlOf(master),
  MASTER_KEY: masterKey,
  HOST: '127.0.0.1',
  // With a server of one's own the default is before, and there is nobody here to read mails.
  VERIFY_EMAIL: 'after',
  ...(provisioner === undefined ? {} : { PROVISIONER_DATABASE_URL: urlOf(provisioner) }),
})

const tooFew = 'the server allows too few connections'

const worksEndToEnd = async (t: Test, env: Record<string, string>): Promise<void> => {
  const cwd = await newWorkingFolder(t)
  const freehold = startFreehold(t, undefined, { env, cwd })
  const { address, adminPassword } = await freehold.ready
  t.match(freehold.out(), /Postgres +18\.\d+, MASTER_DATABASE_URL/)
  await signIn(address, 'admin@freehold.local', String(adminPassword))
  t.match(await askUntilReady(address), { status: 200 })
  await createTenantWithProject(await signUp(address, 'ann@example.com', 'long enough'), 'acme')
  t.same(await freehold.end('SIGTERM'), { code: 0, signal: null })

  t.notMatch(freehold.out(), tooFew)

  const next = startFreehold(t, undefined, { env: { ...env, CONNECTION_BUDGET: '5000' }, cwd })
  const again = await next.ready
  t.equal(again.adminPassword, undefined)
  t.match(next.out(), tooFew)
  const ann = await signIn(again.address, 'ann@example.com', 'long enough')
  t.same(await projectNames(ann, 'acme'), ['of acme'])
  t.same(await next.end('SIGINT'), { code: 0, signal: null })
  t.same(await readdir(join(cwd, '.freehold')), ['mail'], 'nothing but mails, as there is no mail server')
}

t.test('a server of the operator: first with ordinary roles, then with a superuser beside it', async (t) => {
  await t.test('an owner for the master and a provisioner for the rest', async (t) => {
    await worksEndToEnd(t, given(await newOwner('control'), server.provisioner))
    t.same(
      await query(
        server.superuser,
        `select rolsuper or rolcreatedb or rolcreaterole as excess from pg_roles where rolname = 'control'`,
      ),
      [{ excess: false }],
    )
  })
  await t.test('one superuser for all, as a second installation on the server', async (t) => {
    await query(server.superuser, 'create database other')
    await worksEndToEnd(t, given({ ...server.superuser, database: 'other' }))
  })
})

t.test('ROLE=api and ROLE=worker are two processes that work together', async (t) => {
  const env = given(await newOwner('shared'), server.provisioner)
  const api = startFreehold(t, undefined, { env: { ...env, ROLE: 'api' } })
  const { address, adminPassword } = await api.ready
  await signIn(address, 'admin@freehold.local', String(adminPassword))
  const ann = await signUp(address, 'ann@example.com', 'long enough')
  t.match(await ann.call('POST', '/tenants', { name: 'Acme', slug: 'acme' }), {
    status: 202,
    body: { status: 'pending' },
  })

  const worker = startFreehold(t, undefined, { env: { ...env, ROLE: 'worker' } })
  await until(async () => worker.out().includes('the worker is ready'))
  t.notMatch(worker.out(), /Password|Admin/, 'only the API shows the admin')
  await until(async () => (await ann.call('GET', '/tenants/acme/status')).body.status === 'active')
  t.same(await projectNames(ann, 'acme'), [])
  await until(async () => (await ann.call('POST', '/tenants', { name: 'Next' })).status === 201)
  await signIn(address, 'admin@freehold.local', String(adminPassword))

  // Of four connections these two nodes keep one each, and a third node two.
  await query(
    { ...server.superuser, database: 'shared' },
    `with third as (
      insert into nodes (id, role, version, host, routes, renewal, started_at, heartbeat_at, expires_at)
      values (gen_random_uuid(), 'api', '1', 'third', true, 1, now(), now(), now() + interval '1 hour') returning id
    ) insert into node_shares (node_id, cluster_id, granted, in_use) select third.id, clusters.id, 2, 2 from third, clusters`,
  )
  const late = startFreehold(t, undefined, { env: { ...env, ROLE: 'api', CONNECTION_BUDGET: '4' } })
  const { address: without } = await late.ready
  t.match(late.out(), 'no connection is left for this node')
  const ready = (at: string) => clientOf(at).call('GET', '/health/ready')
  t.match(await ready(without), { status: 503, body: { parts: [{}, {}, { name: 'clusters', ok: false }] } })
  t.match(await ready(address), { status: 200 })
  t.same(await late.end('SIGTERM'), { code: 0, signal: null })

  t.same(await worker.end('SIGTERM'), { code: 0, signal: null })
  t.same(await api.end('SIGTERM'), { code: 0, signal: null })
})

t.test('a provisioner with too few rights: one line with the SQL that helps', async (t) => {
  const env = given(await newOwner('owner'), await newOwner('poor', 'createdb'))
  const freehold = startFreehold(t, undefined, { env })
  t.same(await freehold.ended, { code: 1, signal: null })
  t.same(freehold.errors(), [
    `freehold: poor on ${server.master.host}:${server.master.port} may not make databases and roles; run as a superuser: alter role "poor" createrole;`,
  ])
  await query(server.superuser, 'alter role "poor" createrole')
})

/** A way to the server on which it seems to be an older one; its version is the only thing that is changed. */
const agedServer = async (t: Test): Promise<number> => {
  const proxy = createServer((socket) => {
    const upstream = connect(join(server.superuser.host, `.s.PGSQL.${server.superuser.port}`))
    const age = new Transform({
      transform: (chunk: Buffer, _encoding, done) => {
        const text = chunk
          .toString('latin1')
          .replaceAll(/18(\d{4})/g, '15$1')
          .replaceAll('18.', '15.')
        done(null, Buffer.from(text, 'latin1'))
      },
    })
    socket.pipe(upstream).pipe(age).pipe(socket)
    for (const end of [socket, upstream]) end.on('error', () => socket.destroy())
  }).listen(0, '127.0.0.1')
  t.teardown(() => proxy.close())
  await once(proxy, 'listening')
  const address = proxy.address()
  return typeof address === 'object' && address !== null ? address.port : 0
}

t.test('a server that is too old: one line that says which version is needed', async (t) => {
  const port = await agedServer(t)
  const freehold = startFreehold(t, undefined, {
    env: given({ ...server.superuser, host: '127.0.0.1', port }),
  })
  t.same(await freehold.ended, { code: 1, signal: null })
  t.match(freehold.errors(), [
    /^freehold: postgres on 127\.0\.0\.1:\d+: PostgreSQL 15\.\d+ is too old; use 16 or newer/,
  ])
  t.equal(freehold.errors().length, 1)
})

t.test(
  'a server that is not there, and a password that is wrong: one line each, without the password',
  async (t) => {
    const wrong = { ...server.superuser, password: 'canary' }
    const nowhere = { ...server.superuser, host: '127.0.0.1', port: 1, password: 'canary' }
    for (const [master, says] of [
      [wrong, /^freehold: postgres on .* was refused; check user, password and pg_hba\.conf/],
      [nowhere, /^freehold: postgres on 127\.0\.0\.1:1 cannot be reached .*; check host, port and TLS/],
    ] as const) {
      const freehold = startFreehold(t, undefined, { env: given(master) })
      t.same(await freehold.ended, { code: 1, signal: null })
      t.equal(freehold.errors().length, 1)
      t.match(freehold.errors(), [says])
      t.notMatch(freehold.errors().join(), 'canary')
    }
  },
)
