import { type AddressInfo, createConnection, createServer, type Server, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { type RawBuilder, sql } from 'kysely'
import t from 'tap'
import type { PlacedTenant } from '../../src/connection-router/directory.ts'
import type { TenantDb } from '../../src/connection-router/tenant-db.ts'
import { scramVerifier } from '../../src/kernel/crypto.ts'
import { AppError } from '../../src/kernel/errors.ts'
import { createLogger } from '../../src/kernel/log.ts'
import { codeOf, startWorld, type TestRouter, type TestSchema, until } from './world.ts'

const world = await startWorld(t, 3)
const [a, b] = [world.tenant(0), world.tenant(1)]
const role = a.address.user
await world.admin(`create role helper`)
await world.admin(`grant helper to ${role}`)

type Db = TenantDb<TestSchema>

const pidOf = async (db: Db): Promise<number> => {
  const { rows } = await sql<{ pid: number }>`select pg_backend_pid() as pid`.execute(db)
  return rows[0]?.pid ?? Number.NaN
}

/** Everything that a session might have kept, as the next user of the tenant finds it. */
const sessionState = async (db: Db): Promise<unknown> => {
  const { rows } = await sql`select current_user, current_setting('search_path') as search_path,
    current_setting('app.secret', true) as secret, (select count(*) from pg_class where relname = 'leftover') as temp,
    (select count(*) from pg_listening_channels()) as channels, current_setting('statement_timeout') as timeout,
    (select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()) as locks,
    (select count(*) from pg_prepared_statements where from_sql) as prepared, (select count(*) from pg_cursors) as cursors,
    current_setting('transaction_isolation') as isolation`.execute(db)
  return rows[0]
}

/** On one connection: what `spoil` does is gone for the next user, and the tenant still works. */
const leavesNothing = (name: string, spoil: (db: Db) => Promise<unknown>): void =>
  world.test(`the next user does not find: ${name}`, async (t) => {
    const router = world.router({ tenantMaxConnections: 1 })
    const before = await router.use(a.tenantId, sessionState)
    await router.use(a.tenantId, spoil)
    t.same(await router.use(a.tenantId, sessionState), before)
    t.equal(router.stats().spoiled, 1)
    t.equal(router.stats().opens, 2)
  })

const statement = (raw: RawBuilder<unknown>) => (db: Db) => raw.execute(db)
leavesNothing('a role', statement(sql`set role helper`))
leavesNothing('a search_path', statement(sql`set search_path = pg_catalog`))
leavesNothing('a timeout', statement(sql`set statement_timeout = 1`))
leavesNothing('a setting', statement(sql`select set_config('app.secret', 'mine', false)`))
leavesNothing('a setting under a comment', statement(sql`/* select */ set app.secret = 'mine'`))
leavesNothing('a setting from a DO block', statement(sql`do $$ begin set app.secret = 'mine'; end $$`))
leavesNothing('a temporary table', statement(sql`create temp table leftover (id int)`))
leavesNothing('a temporary table from a select', statement(sql`select 1 as id into temp leftover`))
leavesNothing('a listener', statement(sql`listen news`))
leavesNothing('an advisory lock', statement(sql`select pg_advisory_lock(42)`))
leavesNothing('a prepared statement', statement(sql`prepare p as select 1`))
leavesNothing('a cursor', statement(sql`declare c cursor with hold for select 1`))
leavesNothing('an open transaction', statement(sql`begin isolation level serializable`))
leavesNothing('a failed transaction', async (db) => {
  await sql`begin`.execute(db)
})
leavesNothing('a role from a transaction', (db) =>
  db.transaction().execute((trx) => sql`set role helper`.execute(trx)),
)

world.test('settings that end with their transaction do not cost the connection', async (t) => {
  const router = world.router({ tenantMaxConnections: 1 })
  const before = await router.use(a.tenantId, sessionState)
  await router.use(a.tenantId, (db) =>
    db.transaction().execute(async (trx) => {
      await sql`set local app.secret = 'mine'`.execute(trx)
      await sql`select set_config('app.secret', ${'mine'}, true)`.execute(trx)
    }),
  )
  const after = await router.use(a.tenantId, sessionState)
  t.same(
    after,
    { ...(before as object), secret: '' },
    'Postgres remembers the name of the setting, without a value',
  )
  t.equal(router.stats().opens, 1)
})

world.test('two statements in one text are refused by the server', async (t) => {
  const router = world.router()
  await router.use(a.tenantId, (db) =>
    t.rejects(sql`select 1; set role helper`.execute(db), { code: '42601' }),
  )
})

world.test('the options of the connection win over what the role has set for itself', async (t) => {
  await world.admin(`alter role ${role} set statement_timeout = 0`)
  await world.admin(`alter role ${role} set standard_conforming_strings = off`)
  await world.admin(`alter role ${role} set client_encoding = 'LATIN1'`)
  t.teardown(() => world.admin(`alter role ${role} reset all`))
  const router = world.router({ statementTimeoutMs: 4_000 })
  const { rows } = await router.use(a.tenantId, (db) =>
    sql<Record<string, string>>`select current_setting('application_name') as name,
      current_setting('statement_timeout') as statement, current_setting('lock_timeout') as lock,
      current_setting('idle_in_transaction_session_timeout') as idle,
      current_setting('standard_conforming_strings') as strings,
      current_setting('client_encoding') as encoding`.execute(db),
  )
  t.same(rows[0], {
    name: 'freehold',
    statement: '4s',
    lock: '4s',
    idle: '30s',
    strings: 'on',
    encoding: 'UTF8',
  })
})

world.test('a statement that takes too long fails, and its connection is not used again', async (t) => {
  const router = world.router({ statementTimeoutMs: 50 })
  await router.use(a.tenantId, async (db) => {
    await t.rejects(sql`select pg_sleep(30)`.execute(db), { code: '57014' })
    await db.selectFrom('canary').selectAll().execute()
  })
  t.equal(router.stats().opens, 2)
  t.equal(router.stats().spoiled, 1)
})

world.test('an idle connection that dies is replaced, unnoticed', async (t) => {
  const router = world.router()
  const pid = await router.use(a.tenantId, pidOf)
  await world.admin('select pg_terminate_backend($1)', [pid])
  await until(() => router.stats().clusters[0]?.permitsUsed === 0)
  t.not(await router.use(a.tenantId, pidOf), pid)
})

world.test('a busy connection that dies is database_unavailable, without a word of the driver', async (t) => {
  const router = world.router()
  const lease = await router.lease(a.tenantId)
  const pid = await pidOf(lease.db)
  const cut = sql`select pg_sleep(30)`.execute(lease.db)
  await until(() => router.stats().clusters[0]?.busy === 1)
  const [error] = await Promise.all([
    cut.catch((e: unknown) => e),
    world.admin('select pg_terminate_backend($1)', [pid]),
  ])
  t.ok(error instanceof AppError && error.code === 'database_unavailable')
  t.notMatch(String(error), /terminat/)
  t.not(await pidOf(lease.db), pid)
  lease.release()
})

world.test(
  'a connection that dies in a transaction ends the transaction with database_unavailable',
  async (t) => {
    const router = world.router()
    const broken = router.use(a.tenantId, (db) =>
      db.transaction().execute(async (trx) => {
        const { rows } = await sql<{ pid: number }>`select pg_backend_pid() as pid`.execute(trx)
        await world.admin('select pg_terminate_backend($1)', [rows[0]?.pid])
        await trx.insertInto('canary').values({ id: 'lost', word: 'lost' }).execute()
      }),
    )
    t.equal(await codeOf(broken), 'database_unavailable')
    const rows = await router.use(a.tenantId, (db) =>
      db.selectFrom('canary').selectAll().where('id', '=', 'lost').execute(),
    )
    t.same(rows, [])
  },
)

world.test('a parameter that cannot be sent spoils its own connection only', async (t) => {
  const router = world.router()
  const circular: Record<string, unknown> = {}
  circular.self = circular
  await router.use(a.tenantId, async (db) => {
    await t.rejects(sql`select ${circular}::jsonb`.execute(db), TypeError)
    await db.selectFrom('canary').selectAll().execute()
  })
})

/** Stands between the router and the server, and passes everything on, changed as the test says. */
const proxyTo = async (
  { address: { host, port } }: PlacedTenant,
  change: {
    startup?(message: Buffer): Buffer
    /** Told of all that the router says. */
    said?(bytes: Buffer): void
    answer?(bytes: Buffer, send: (bytes: Buffer) => void): void
  },
): Promise<{ server: Server; address: { host: string; port: number } }> => {
  const target = host.startsWith('/') ? { path: `${host}/.s.PGSQL.${port}` } : { host, port }
  const server = createServer({ allowHalfOpen: true }, (inbound: Socket) => {
    const outbound = createConnection({ ...target, allowHalfOpen: true })
    inbound.once('data', (startup: Buffer) => {
      outbound.write(change.startup?.(startup) ?? startup)
      if (change.said !== undefined) inbound.on('data', change.said)
      inbound.pipe(outbound)
    })
    const send = (bytes: Buffer): unknown => inbound.write(bytes)
    outbound.on('data', (bytes: Buffer) =>
      change.answer === undefined ? send(bytes) : change.answer(bytes, send),
    )
    outbound.on('end', () => setTimeout(() => inbound.end(), 20))
    inbound.on('error', () => outbound.destroy())
    outbound.on('error', () => inbound.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return { server, address: { host: '127.0.0.1', port: (server.address() as AddressInfo).port } }
}

world.test('an error whose end of statement comes late does not cost the connection', async (t) => {
  let sent = Promise.resolve()
  const { server, address } = await proxyTo(a, {
    answer: (bytes, send) => {
      // ReadyForQuery: 'Z', a length of 5, a status.
      const ready = bytes.at(-6) === 0x5a ? bytes.length - 6 : bytes.length
      sent = sent.then(async () => {
        send(bytes.subarray(0, ready))
        await sleep(5)
        send(bytes.subarray(ready))
      })
    },
  })
  t.teardown(() => server.close())
  world.master.set(a.tenantId, { ...a, address: { ...a.address, ...address } })
  const router = world.router()
  await router.use(a.tenantId, async (db) => {
    await t.rejects(sql`select 1 / 0`.execute(db), { code: '22012' })
    await db.selectFrom('canary').selectAll().execute()
  })
  t.equal(router.stats().opens, 1)
})

for (const iterations of [1, 4096]) {
  const login = iterations === 1 ? 'our own login' : "the driver's login"
  world.test(`${login}: a wrong database is caught before it is asked anything`, async (t) => {
    const swap = (message: Buffer): Buffer =>
      Buffer.from(message.toString('latin1').replaceAll(a.address.database, b.address.database), 'latin1')
    const asked: string[] = []
    const said = (bytes: Buffer): void => void asked.push(bytes.toString('latin1'))
    const { server, address } = await proxyTo(a, { startup: swap, said })
    t.teardown(() => server.close())
    // Both take the same password, so that nothing but the router stands between the tenant and the wrong database.
    const setPassword = (verifier: string) =>
      world.admin(`alter role ${b.address.user} password '${verifier}'`)
    await setPassword(scramVerifier(a.address.password, iterations))
    t.teardown(() => setPassword(scramVerifier(b.address.password, 1)))
    world.master.set(a.tenantId, { ...a, address: { ...a.address, ...address } })
    const lines: string[] = []
    const router: TestRouter = world.router({
      log: createLogger('error', { write: (line: string) => lines.push(line) }),
    })
    const read = router.use(a.tenantId, (db) => db.selectFrom('canary').selectAll().execute())
    t.equal(await codeOf(read), 'database_unavailable')
    t.equal(router.stats().mismatches, 1)
    t.equal(lines.length, 1)
    t.match(lines[0], /another database/)
    t.notMatch(lines[0], a.address.password)
    t.match(asked.join(''), /current_catalog/)
    t.notMatch(asked.join(''), /canary/)
  })
}

world.test(
  'the database is asked for its name with the last word of the login, not after the answer',
  async (t) => {
    const events: string[] = []
    const { server, address } = await proxyTo(a, {
      said: (bytes) => {
        if (bytes.includes('current_catalog')) events.push('asked')
      },
      answer: (bytes, send) => {
        // AuthenticationOk: 'R', a length of 8, 0.
        if (bytes.includes(Buffer.from('520000000800000000', 'hex'))) events.push('let in')
        send(bytes)
      },
    })
    t.teardown(() => server.close())
    world.master.set(a.tenantId, { ...a, address: { ...a.address, ...address } })
    await world.router().use(a.tenantId, (db) => db.selectFrom('canary').selectAll().execute())
    t.strictSame(events, ['asked', 'let in'])
  },
)
