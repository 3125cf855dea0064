import { setTimeout as sleep } from 'node:timers/promises'
import { sql } from 'kysely'
import t, { type Test } from 'tap'
import { createSecretBox, type KeyRing, masterKeyId } from '../../src/kernel/crypto.ts'
import { newId } from '../../src/kernel/ids.ts'
import { createLogger } from '../../src/kernel/log.ts'
import { keepArchive } from '../../src/master/audit-archives.ts'
import { loadAuditKey } from '../../src/master/audit-keys.ts'
import { openInstallation, readKeyState, writeKeyState } from '../../src/master/installation.ts'
import { nodeSays } from '../../src/master/live-names.ts'
import { openMaster } from '../../src/master/master.ts'
import { migrateMaster } from '../../src/master/migrate-master.ts'
import { openNodeLink } from '../../src/master/nodes.ts'
import { leftUnderOtherKeys, rotateMasterKey } from '../../src/master/rotate-master-key.ts'
import { sealedColumns } from '../../src/master/sealed-columns.ts'
import { keepSealed, readSealed } from '../../src/master/sealed-payloads.ts'
import { allKeys, type MasterKeys } from '../../src/open-master.ts'
import { type Freehold, startNode } from '../helpers/freehold.ts'
import { startTestPostgres } from '../helpers/postgres.ts'
import { until } from '../helpers/until.ts'

/** Key number n; 7 is the one that everything begins with. */
const key = (n: number): Buffer => Buffer.alloc(32, n)
const id = (n: number): string => masterKeyId(key(n))
const silently = (): void => {}

const postgres = await startTestPostgres(t)
/** What the environment, or the key file, of every node says at the moment. */
let configured: MasterKeys = key(7)
await migrateMaster(postgres.master)
const master = openMaster(postgres.master, createLogger('silent'))
t.teardown(() => master.close())
const { db } = master

const rotate = (box: KeyRing, to: number, say: (text: string) => void = silently) =>
  rotateMasterKey({ db, box, to: id(to), say })

/** Hashes, and what else is no secret that has to open again. */
const notSealed = new Set([
  'idempotency_keys.body_hash',
  'idempotency_keys.scope_hash',
  'invitations.token_hash',
  'known_devices.fingerprint',
  'mailed_tokens.token_hash',
  'rate_limits.key',
  'refresh_tokens.token_hash',
  'replaced_invitation_tokens.token_hash',
  'sessions.csrf_hash',
  'sign_in_codes.challenge',
  'sign_in_codes.code_hash',
  'spent_sign_ins.state_hash',
  'system_user_secrets.secret_hash',
])

t.test('a rotation knows every column of bytes in the master, or here stands why it need not', async (t) => {
  const { rows } = await sql<{ name: string }>`
    select table_name || '.' || column_name as name from information_schema.columns
     where table_schema = 'public' and data_type = 'bytea'`.execute(db)
  const known = ['installation.key_check', ...sealedColumns.map(({ table, column }) => `${table}.${column}`)]
  t.strictSame(
    rows
      .map(({ name }) => name)
      .filter((name) => !notSealed.has(name))
      .sort(),
    known.sort(),
  )
})

const refresh = async (at: Freehold, refreshToken: string): Promise<string> => {
  const { status, body, text } = await at.call('POST', '/auth/refresh', { body: { refreshToken } })
  if (status !== 200) throw new Error(text)
  return String(body.refreshToken)
}

const sealedUnder = async (keyId: string): Promise<number> => {
  let count = 0
  for (const { table, column } of [...sealedColumns, { table: 'installation', column: 'key_check' }]) {
    const { rows } = await sql<{ n: number }>`
      select count(*)::int as n from ${sql.table(table)}
       where substring(${sql.ref(column)} from 2 for 4) = ${Buffer.from(keyId, 'hex')}`.execute(db)
    count += rows[0]?.n ?? 0
  }
  return count
}

t.test('beside nodes that run', async (t) => {
  const node = await startNode(t, postgres, {}, async () => configured)
  const other = await startNode(t, postgres, {}, async () => configured)

  await t.test('while a node does not know the new key nothing is begun, and it is named', async (t) => {
    const box = createSecretBox(key(7), key(8))
    await t.rejects(rotateMasterKey({ db, box, to: id(8), say: silently, patienceMs: 0 }), {
      message: new RegExp(`node ${other.service.nodeId} \\(all on .*MASTER_KEY_PREVIOUS`, 's'),
    })
    t.equal(await sealedUnder(id(8)), 0)
    t.match(await readKeyState(db, box), { keyId: id(7), from: undefined })
  })

  t.test(
    'nodes that know both keys go on serving, change over, and nothing is left under the old one',
    async (t) => {
      const tenant = await node.newTenant()
      await node.service.manager.refillSpares()
      const invited = { email: 'asked@example.com', role: 'Basic' }
      const headers = { 'idempotency-key': 'rotation' }
      await node.call('POST', '/api/invitations', { token: tenant.token, body: invited, headers })
      const payload = await db
        .transaction()
        .execute((trx) => keepSealed(trx, node.service.box, { of: 'a job' }))
      await loadAuditKey(db, node.service.box)
      await db.transaction().execute((trx) =>
        keepArchive(trx, node.service.box, {
          ...{ tenantId: tenant.tenantId, days: 1, checkpoint: null, pruned: null },
          parts: (async function* () {
            yield { text: 'an entry', entries: 1 }
          })(),
        }),
      )
      let working = true
      const work = async (at: Freehold): Promise<number> => {
        let rounds = 0
        for (let token = (await at.signUp()).refreshToken; working; rounds += 1) {
          token = await refresh(at, token)
          const { status } = await at.call('GET', '/api/projects', { token: tenant.token })
          if (status !== 200) throw new Error(`refused with ${status}`)
          await at.signUp()
          await sleep(1)
        }
        return rounds
      }
      const work1 = work(node)
      const work2 = work(other)
      configured = [key(8), key(7)]
      const said: string[] = []
      const { from, resealed } = await rotate(createSecretBox(key(7), key(8)), 8, (text) => said.push(text))
      working = false
      t.ok((await work1) > 0 && (await work2) > 0, 'they worked meanwhile')
      t.equal(from, id(7))
      t.ok(resealed >= 6)
      t.match(said.join('\n'), /sealing sessions again: 0 of \d+/)
      t.equal(await sealedUnder(id(7)), 0)
      for (const { box } of [node.service, other.service]) t.equal(box.keyId, id(8))
      t.strictSame(await readSealed(db, createSecretBox(key(8)), payload), { of: 'a job' })
      const { rows } = await sql<{ action: string }>`
    select action from audit_log where action like 'master_key.%' order by id`.execute(db)
      t.strictSame(
        rows.map(({ action }) => action),
        ['master_key.rotation_began', 'master_key.rotated'],
      )
      t.strictSame(
        await rotate(createSecretBox(key(8)), 8),
        { from: undefined, resealed: 0 },
        'and then there is nothing to do',
      )
    },
  )

  await t.test('what was sealed before and comes into the master late is not left out', async (t) => {
    configured = [key(9), key(8)]
    const late = Promise.withResolvers<void>()
    const begun = Promise.withResolvers<void>()
    const payload = node.service.master.db.transaction().execute(async (trx) => {
      await sql`select`.execute(trx)
      begun.resolve()
      await late.promise
      return keepSealed(trx, createSecretBox(key(8)), 'late')
    })
    await begun.promise
    await rotate(createSecretBox(key(8), key(9)), 9, (text) => {
      // A pass over the columns would be over by then.
      if (/transactions/.test(text)) setTimeout(late.resolve, 500)
    })
    late.resolve()
    t.equal(await readSealed(db, createSecretBox(key(9)), await payload), 'late')
    t.equal(await sealedUnder(id(8)), 0)
  })

  await t.test('a node that was not told of the new key says so, and is well again once it is', async (t) => {
    const { service } = node
    configured = [key(9), key(8)]
    const box = createSecretBox(key(10), key(9))
    const { installationId } = await readKeyState(db, box)
    const change = (from: string | undefined, keyId: string) =>
      db.transaction().execute(async (trx) => {
        box.sealUnder(keyId)
        await writeKeyState(trx, box, { installationId, from })
        await sql`select pg_notify('freehold_changes', 'master-key')`.execute(trx)
      })
    t.ok(service.knowsMasterKey())
    await change(id(9), id(10))
    await until(async () => !service.knowsMasterKey() && !other.service.knowsMasterKey())
    await change(undefined, id(9))
    await until(async () => service.knowsMasterKey() && other.service.knowsMasterKey())
  })
})

t.test('nothing is sealed again before every node seals under the new key', async (t) => {
  let seals = 9
  const facts = { id: newId(), role: 'api', version: '0', host: 'slow', routes: false } as const
  const link = openNodeLink(postgres.master, facts, 60_000, {
    says: () => [
      nodeSays.opens(facts.id, id(9)),
      nodeSays.opens(facts.id, id(10)),
      nodeSays.seals(facts.id, id(seals)),
    ],
  })
  await link.renew(new Map())
  const box = createSecretBox(key(9), key(10))
  const before = await sealedUnder(id(9))
  await t.rejects(rotateMasterKey({ db, box, to: id(10), say: silently, patienceMs: 0 }), {
    message: new RegExp(`node ${facts.id} \\(api on slow\\)`),
  })
  t.equal(await sealedUnder(id(9)), before - 1, 'only which key it is')
  seals = 10
  await link.renew(new Map())
  t.match(await rotate(box, 10), { from: id(9), resealed: before - 1 })
  await link.leave()
})

/** The error of a start with these keys; undefined when it would succeed. */
const refusalOf = async (first: Buffer, ...others: Buffer[]): Promise<string | undefined> => {
  try {
    await openInstallation(db, createSecretBox(first, ...others))
    return undefined
  } catch (error) {
    return String(error)
  }
}

/** Rotates from one key to the next and dies at the step number `at`. True when it came to its end before. */
const dieAt = async (at: number, from: number, to: number): Promise<boolean> => {
  let step = 0
  const say = (): void => {
    step += 1
    if (step === at) throw new Error('killed')
  }
  return rotate(createSecretBox(key(to), key(from)), to, say).then(
    () => true,
    (error: unknown) => {
      if (error instanceof Error && error.message === 'killed') return false
      throw error
    },
  )
}

const everythingOpens = async (t: Test, ...keys: [Buffer, ...Buffer[]]): Promise<void> => {
  const box = createSecretBox(...keys)
  for (const { table, column, more, context } of sealedColumns) {
    const names = ['id', ...more].map((name) => sql.ref(name))
    const { rows } = await sql<{ id: string; sealed: Buffer }>`
      select ${sql.join(names)}, ${sql.ref(column)} as sealed from ${sql.table(table)}`.execute(db)
    t.ok(rows.length > 0, table)
    for (const row of rows) box.open(row.sealed, context(row))
  }
}

t.test(
  'killed at any step, both keys open everything, a start with both succeeds, and the next run finishes',
  async (t) => {
    let finished = false
    for (let [at, from] = [1, 10]; !finished; [at, from] = [at + 1, from + 1]) {
      const to = from + 1
      configured = [key(to), key(from)]
      finished = await dieAt(at, from, to)
      await everythingOpens(t, key(to), key(from))
      t.equal(await refusalOf(key(to), key(from)), undefined)
      t.equal(await refusalOf(key(from), key(to)), undefined, 'whichever stands first')
      const box = createSecretBox(key(to), key(from))
      await openInstallation(db, box)
      const { keyId, from: rest } = await readKeyState(db, createSecretBox(key(to), key(from)))
      if (keyId === id(from)) t.match(await refusalOf(key(to)), /MASTER_KEY is not the key/, 'not begun')
      else t.match(await refusalOf(key(from)), /MASTER_KEY is not the key/, 'begun')
      if (rest !== undefined) t.match(await refusalOf(key(to)), /set MASTER_KEY_PREVIOUS/)
      await rotate(createSecretBox(key(to), key(from)), to)
      await everythingOpens(t, key(to))
      t.equal(await refusalOf(key(to)), undefined)
      t.strictSame(await leftUnderOtherKeys(db, id(to)), [])
    }
  },
)

t.test('what no key opens is named, and the old key stays needed until that is settled', async (t) => {
  const now = Number(allKeys(configured)[0][0])
  const box = createSecretBox(key(now), key(now + 1))
  configured = [key(now + 1), key(now)]
  const stray = await db.transaction().execute((trx) => keepSealed(trx, createSecretBox(key(99)), {}))
  await t.rejects(rotate(box, now + 1), { message: new RegExp(`sealed_payloads ${stray}`) })
  t.match(await refusalOf(key(now + 1)), /set MASTER_KEY_PREVIOUS/)
  t.strictSame(await leftUnderOtherKeys(db, id(now + 1)), [{ table: 'sealed_payloads', count: 1 }])
  const third = createSecretBox(key(now), key(now + 1), key(now + 2))
  await t.rejects(rotate(third, now + 2), { message: /finish it first/ })
  await db.deleteFrom('sealed_payloads').where('id', '=', stray).execute()
  t.match(await rotate(box, now + 1), { from: id(now) })
  t.equal(await refusalOf(key(now + 1)), undefined)
})
