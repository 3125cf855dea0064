import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join as joinPath } from 'node:path'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { type Checkpoint, verifyAuditLog } from '../../../docs/verify-audit-log.ts'
import { type Anchor, type Ask, sealOf, verifyChain } from '../../../src/kernel/audit-chain.ts'
import { entriesAtOnce, entryJson } from '../../../src/kernel/audit-entries.ts'
import { streamEntries } from '../../../src/tenant/audit/queries.ts'
import { type Member, startFreehold } from '../../helpers/freehold.ts'
import { connectTo } from '../../helpers/postgres.ts'
import { databaseOf } from '../../helpers/tenant-manager.ts'
import { until } from '../../helpers/until.ts'

/** The chain that a tenant's audit log is sealed into, and who is found out by it. */

const freehold = await startFreehold(t)
const { call, service, newTenant, asSuperuser, superuser } = freehold
const { manager, master } = service
const { db } = master

type Report = {
  ok: boolean
  verified: number
  unsealed: number
  problems: { kind: string; position: number }[]
}
const verify = async ({ token }: Member): Promise<Report> => {
  const answer = await call('GET', '/api/audit/verify', { token })
  if (answer.status !== 200) throw new Error(answer.text)
  return answer.body as unknown as Report
}
const kinds = async (tenant: Member): Promise<string[]> => {
  const { ok, problems } = await verify(tenant)
  const byCommand = await manager.verifyAudit(tenant.tenantId)
  t.strictSame(byCommand?.problems, problems, 'the command finds the same')
  t.equal(ok, problems.length === 0)
  return problems.map(({ kind, position }) => (position === null ? kind : `${kind} ${position}`))
}
/** Without the protection against slips, which the owner can take away. */
const asOwner = (tenant: Member, sql: string) =>
  asSuperuser(
    tenant.tenantId,
    `alter table audit_log disable trigger all; alter table audit_seals disable trigger all; ${sql};
     alter table audit_log enable trigger all; alter table audit_seals enable trigger all`,
  )
const write = (tenant: Member, count: number) =>
  asSuperuser(
    tenant.tenantId,
    `insert into audit_log (id, actor_kind, action, entity_type, details)
     select gen_random_uuid(), 'system', 'test.' || n, 'test', jsonb_build_object('n', n, 'text', 'ä€😀"\\')
       from generate_series(1, ${count}) n`,
  )
const sealedTenant = async (count = 10): Promise<Member> => {
  const tenant = await newTenant()
  await write(tenant, count)
  await manager.sealAudit(tenant.tenantId)
  return tenant
}
const exported = async ({ token }: Member): Promise<string[]> =>
  (await call('GET', '/api/audit/export', { token })).text.split('\n').filter(Boolean)
const checkpointOf = async ({ token }: Member): Promise<Checkpoint & { position: number }> => {
  const answer = await call('GET', '/api/audit/checkpoint', { token })
  return answer.body as unknown as Checkpoint & { position: number }
}
const keys = async () => (await call('GET', '/.well-known/audit-keys.json')).body as never

t.test('entries get a place and a hash that hangs on all before; what is newer is not covered', async (t) => {
  const tenant = await sealedTenant()
  t.match(await verify(tenant), { ok: true, verified: 10, unsealed: 0, problems: [] })
  t.match(
    await verify(tenant),
    { ok: true, verified: 10, unsealed: 1 },
    'the entry of the verification itself',
  )
  await manager.sealAudit(tenant.tenantId)
  t.match(await verify(tenant), { ok: true, verified: 12, unsealed: 0 })
  const list = await call('GET', '/api/audit?limit=2&action=test.10', { token: tenant.token })
  t.match(list.body.data, [{ position: 10, hash: /^[0-9a-f]{64}$/ }])
})

/** An entry that was never true, with a seal. */
const forged = (seq: string, position: string): string => `
  with entry as (
    insert into audit_log (id, seq, actor_kind, action, entity_type) overriding system value
    values ('00000000-0000-7000-8000-000000000000', ${seq}, 'system', 'x', 'test') returning id)
  insert into audit_seals select ${position}, id, sha256('') from entry`

const tampered: Record<string, { sql: string; found: string[] }> = {
  'an action is changed': {
    sql: "update audit_log set action = 'x' where action = 'test.4'",
    found: ['altered 4'],
  },
  'a detail is changed': {
    sql: `update audit_log set details = details || '{"n": 99}' where action = 'test.4'`,
    found: ['altered 4'],
  },
  'a time is changed by a microsecond': {
    sql: "update audit_log set at = at + interval '1 microsecond' where action = 'test.4'",
    found: ['altered 4'],
  },
  'an actor is changed': {
    sql: "update audit_log set actor_id = gen_random_uuid() where action = 'test.10'",
    found: ['altered 10'],
  },
  'an entry is deleted': { sql: "delete from audit_log where action = 'test.4'", found: ['missing 4'] },
  'an entry is deleted with its seal': {
    sql: `delete from audit_seals where position = 4; delete from audit_log where action = 'test.4'`,
    found: ['missing 4'],
  },
  'an entry is put between': {
    sql: `insert into audit_log (id, seq, actor_kind, action, entity_type) overriding system value
          values (gen_random_uuid(), -1, 'system', 'x', 'test')`,
    found: ['added'],
  },
  'an entry is put before the first, with a seal': {
    sql: forged('-1', '0'),
    found: ['added'],
  },
  'an entry is put in with a seal that has no place': {
    sql: `alter table audit_seals drop constraint audit_seals_pkey, alter position drop not null; ${forged('-1', 'null')}`,
    found: ['added'],
  },
  'an entry is put in that has no number': {
    sql: `alter table audit_log alter seq drop identity, alter seq drop not null;
          insert into audit_log (id, actor_kind, action, entity_type) values (gen_random_uuid(), 'system', 'x', 'test');
          create sequence numbers start 1000; grant usage on sequence numbers to public;
          alter table audit_log alter seq set default nextval('numbers')`,
    found: ['added'],
  },
  'the state of the chain is gone': { sql: 'delete from audit_chain', found: ['missing'] },
  'two entries change places': {
    sql: `update audit_seals set position = -4 where position = 4; update audit_seals set position = 4 where position = 5;
          update audit_seals set position = 5 where position = -4`,
    found: ['altered 4', 'altered 5', 'altered 6'],
  },
  'the end is cut off': {
    sql: `delete from audit_log where id in (select entry_id from audit_seals where position > 7);
          delete from audit_seals where position > 7; update audit_chain set sealed_seq = 7`,
    found: ['cut 8'],
  },
  'everything is gone': {
    sql: 'delete from audit_log; delete from audit_seals; update audit_chain set sealed_seq = 0',
    found: ['cut 1'],
  },
  'the beginning is cut off and called pruned': {
    sql: `delete from audit_log where id in (select entry_id from audit_seals where position < 4);
          update audit_chain set pruned_position = 3, pruned_hash = (select hash from audit_seals where position = 3);
          delete from audit_seals where position < 4`,
    found: ['missing 1'],
  },
}
for (const [what, { sql, found }] of Object.entries(tampered)) {
  t.test(`found, though the database's owner did it: ${what}`, async (t) => {
    const tenant = await sealedTenant()
    const checkpoint = await checkpointOf(tenant)
    await verifyAuditLog(await exported(tenant), checkpoint, await keys())
    await asOwner(tenant, sql)
    t.strictSame(await kinds(tenant), found)
    // An entry that was put between has no place, and so proves nothing.
    if (!found.some((problem) => problem === 'added' || problem === 'missing')) {
      await t.rejects(
        verifyAuditLog(await exported(tenant), checkpoint, await keys()),
        'by the customer alone too',
      )
    }
  })
}

t.test(
  'found: entries that share a place or an id with the last of a piece that is read at once',
  async (t) => {
    const [places, ids] = [await sealedTenant(260), await sealedTenant(260)]
    for (const id of ['00000000-0000-7000-8000-000000000000', 'ffffffff-ffff-7fff-bfff-ffffffffffff']) {
      await asOwner(
        places,
        `alter table audit_seals drop constraint if exists audit_seals_pkey;
       ${forged('default', '250').replace('00000000-0000-7000-8000-000000000000', id)}`,
      )
      t.ok((await kinds(places)).includes('missing 251'), id)
      await asOwner(
        places,
        `delete from audit_log where id = '${id}'; delete from audit_seals where entry_id = '${id}'`,
      )
    }
    await asOwner(
      ids,
      `alter table audit_log drop constraint audit_log_pkey;
     insert into audit_log (id, actor_kind, action, entity_type)
     select entry_id, 'system', 'x', 'test' from audit_seals where position = 250`,
    )
    t.ok((await kinds(ids)).includes('missing 251'))
  },
)

/** Computes the chain anew over what is there now, as a forger would. */
const rechain = async (t: Test, tenant: Member): Promise<void> => {
  const client = await databaseOf(t, { db, superuser }, tenant.tenantId)
  const { rows } = await client.query(
    `select s.position, ${entryJson} as entry from audit_seals s join audit_log a on a.id = s.entry_id order by s.position`,
  )
  await client.query('alter table audit_seals disable trigger all')
  let hash: string | null = null
  for (const { position, entry } of rows) {
    hash = sealOf(entry, Number(position), hash)
    await client.query("update audit_seals set hash = decode($2, 'hex') where position = $1", [
      position,
      hash,
    ])
  }
  await client.query('alter table audit_seals enable trigger all')
}

t.test('found: the whole chain is forged anew, and nothing is sealed onto it', async (t) => {
  const tenant = await sealedTenant()
  const checkpoint = await checkpointOf(tenant)
  await asOwner(tenant, "update audit_log set action = 'x' where action = 'test.4'")
  await rechain(t, tenant)
  t.strictSame(await kinds(tenant), ['rewritten 10'])
  await t.rejects(verifyAuditLog(await exported(tenant), checkpoint, await keys()), {
    message: /not the one/,
  })
  await write(tenant, 5)
  await t.rejects(manager.sealAudit(tenant.tenantId), { message: /what was signed/ })
  t.equal((await checkpointOf(tenant)).position, 10)
  const found = (await manager.inspect()).filter(({ kind }) => kind === 'audit_log_changed')
  t.match(found, [{ subject: tenant.slug, repairable: false }])
  await asOwner(tenant, "update audit_log set action = 'test.4' where action = 'x'")
  await rechain(t, tenant)
  await manager.sealAudit(tenant.tenantId)
  t.strictSame(await kinds(tenant), [], 'put right, it goes on')
  t.notOk((await manager.inspect()).some(({ kind }) => kind === 'audit_log_changed'))
})

t.test('found: the state of the chain is gone, and nothing is sealed without it', async (t) => {
  const tenant = await sealedTenant()
  await asSuperuser(tenant.tenantId, 'delete from audit_chain')
  await write(tenant, 5)
  await t.rejects(manager.sealAudit(tenant.tenantId), { message: /state of the chain is gone/ })
  t.match(
    (await manager.inspect()).filter(({ kind }) => kind === 'audit_log_changed'),
    [{ subject: tenant.slug }],
  )
})

t.test(
  'a chain is compared with what was signed of it also where it begins, and told of in measure',
  async (t) => {
    /** A log that begins at this position, and the seals behind a place. */
    const logOf =
      (position: number, sealsAfter: (after: unknown) => unknown[]): Ask =>
      async (text, [after]) => {
        if (text.includes('from audit_chain')) return [{ position: `${position}`, hash: null }]
        return text.includes('from (select * from audit_seals') ? sealsAfter(after) : []
      }
    const [start, checkpoint] = [
      { position: 5, hash: 'a' },
      { position: 5, hash: 'b' },
    ]
    t.match(
      await verifyChain(
        logOf(5, () => []),
        async () => ({ start, checkpoint }),
      ),
      {
        ok: false,
        problems: [{ kind: 'rewritten' }],
      },
    )
    const seals = Array.from({ length: entriesAtOnce }, (_, n) => ({
      ...{ position: `${n + 1}`, hash: '', entry_id: '', entry: null },
    }))
    const emptied = logOf(0, (after) => (after === '0' ? seals : []))
    const from = async () => ({ start: { position: 0, hash: null }, checkpoint: undefined })
    t.equal((await verifyChain(emptied, from)).problems.length, 100)
    const stop = (): never => {
      throw new Error('nobody listens')
    }
    await t.rejects(verifyChain(emptied, from, stop), { message: 'nobody listens' })
  },
)

t.test('found: seals that somebody has put far behind the last; nothing is sealed onto them', async (t) => {
  for (const place of ['12', '9223372036854775807']) {
    const tenant = await sealedTenant()
    await asOwner(tenant, forged('default', place))
    await write(tenant, 1)
    await t.rejects(manager.sealAudit(tenant.tenantId), { message: /leaves out places after 10/ })
    t.equal((await checkpointOf(tenant)).position, 10)
    const found = (await manager.inspect()).filter(({ kind }) => kind === 'audit_log_changed')
    t.ok(found.some(({ subject }) => subject === tenant.slug))
    await asOwner(
      tenant,
      "delete from audit_log where action = 'x'; delete from audit_seals where position > 10",
    )
    await manager.sealAudit(tenant.tenantId)
    t.strictSame(await kinds(tenant), [], 'put right, it goes on')
  }
})

t.test('what is removed by time while a chain is read is not missed', async (t) => {
  const tenant = await sealedTenant()
  const client = await databaseOf(t, { db, superuser }, tenant.tenantId)
  const places = (await client.query("select encode(hash, 'hex') as hash from audit_seals order by position"))
    .rows
  const anchors = [0, 3].map((position) => ({
    start: { position, hash: places[position - 1]?.hash ?? null },
    checkpoint: { position: 10, hash: places[9]?.hash },
  }))
  await asOwner(
    tenant,
    `delete from audit_log where id in (select entry_id from audit_seals where position < 4);
     update audit_chain set pruned_position = 3, pruned_hash = (select hash from audit_seals where position = 3);
     delete from audit_seals where position < 4`,
  )
  const [before, after] = anchors as [Anchor, Anchor]
  const ask: Ask = async (text, values) => (await client.query(text, [...values])).rows
  const found = [before, after]
  t.match(await verifyChain(ask, async () => found.shift() ?? after), { ok: true, verified: 7 })
  const stays = await verifyChain(ask, async () => before)
  t.match(stays.problems, [{ kind: 'missing', position: 1 }])
})

t.test('what a slow transaction writes is sealed when it appears, however late', async (t) => {
  const tenant = await sealedTenant(3)
  const slow = await databaseOf(t, { db, superuser }, tenant.tenantId)
  await slow.query('begin')
  await slow.query(
    "insert into audit_log (id, actor_kind, action, entity_type) values (gen_random_uuid(), 'system', 'slow', 'test')",
  )
  await write(tenant, 3)
  await manager.sealAudit(tenant.tenantId)
  await asSuperuser(tenant.tenantId, "update audit_gaps set noticed_at = now() - interval '2 minutes'")
  await manager.sealAudit(tenant.tenantId)
  t.strictSame(await kinds(tenant), [])
  await slow.query('commit')
  t.strictSame(await kinds(tenant), [], 'what appears late is not taken for added')
  await write(tenant, 1)
  await asSuperuser(tenant.tenantId, 'update audit_gaps set noticed_at = now()')
  await manager.sealAudit(tenant.tenantId)
  await manager.sealAudit(tenant.tenantId)
  t.equal((await asSuperuser(tenant.tenantId, 'select from audit_gaps')).length, 1, 'there is no other gap')
  const entries = (await exported(tenant)).map((line) => JSON.parse(line))
  t.ok(entries.find(({ action }) => action === 'slow').position > 6)
  t.strictSame(await kinds(tenant), [])
  await asSuperuser(tenant.tenantId, "update audit_gaps set noticed_at = now() - interval '2 minutes'")
  await manager.sealAudit(tenant.tenantId)
  t.strictSame(await asSuperuser(tenant.tenantId, 'select from audit_gaps'), [], 'and its gap is forgotten')
  t.strictSame(await kinds(tenant), [])
})

t.test('a slow transaction may have written more than is sealed at once', async (t) => {
  const tenant = await sealedTenant(1)
  const slow = await databaseOf(t, { db, superuser }, tenant.tenantId)
  await slow.query('begin')
  await slow.query(
    `insert into audit_log (id, actor_kind, action, entity_type)
     select gen_random_uuid(), 'system', 'slow', 'test' from generate_series(1, ${entriesAtOnce + 5})`,
  )
  await write(tenant, 1)
  await manager.sealAudit(tenant.tenantId)
  await slow.query('commit')
  await asSuperuser(tenant.tenantId, "update audit_gaps set noticed_at = now() - interval '2 minutes'")
  await manager.sealAudit(tenant.tenantId)
  t.match(await verify(tenant), { ok: true, verified: entriesAtOnce + 7, unsealed: 0 })
})

t.test('numbers of what was rolled back are waited for a while, and missed by nobody', async (t) => {
  const tenant = await sealedTenant(2)
  await t.rejects(
    asSuperuser(
      tenant.tenantId,
      `begin; insert into audit_log (id, actor_kind, action, entity_type) values (gen_random_uuid(), 'system', 'never', 'test');
       select 1 / 0`,
    ),
  )
  await write(tenant, 2)
  await manager.sealAudit(tenant.tenantId)
  t.equal((await asSuperuser(tenant.tenantId, 'select from audit_gaps')).length, 1)
  t.strictSame(await kinds(tenant), [])
  await asSuperuser(
    tenant.tenantId,
    "update audit_gaps set until_xid = 9e18, noticed_at = now() - interval '25 hours'",
  )
  await manager.sealAudit(tenant.tenantId)
  t.strictSame(await asSuperuser(tenant.tenantId, 'select from audit_gaps'), [], 'no longer than a day')
})

t.test('many sealers at once, while others write, make one chain', async (t) => {
  const tenant = await sealedTenant(100)
  for (let round = 0; round < 5; round += 1) {
    await write(tenant, 500)
    const sealers = Array.from({ length: 4 }, () => manager.sealAudit(tenant.tenantId))
    await Promise.all([...sealers, write(tenant, 500)])
  }
  await manager.sealAudit(tenant.tenantId)
  t.match(await verify(tenant), { ok: true, verified: 5_100, unsealed: 0 })
})

t.test('numbers too big for us are sealed as what is shown of them', async (t) => {
  const tenant = await newTenant()
  await asSuperuser(
    tenant.tenantId,
    `insert into audit_log (id, actor_kind, action, entity_type, details)
     values (gen_random_uuid(), 'system', 'big', 'test', '{"huge": 1e400, "long": 12345678901234567890, "zero": -0.0}')`,
  )
  await manager.sealAudit(tenant.tenantId)
  t.strictSame(await kinds(tenant), [])
  await verifyAuditLog(await exported(tenant), await checkpointOf(tenant), await keys())
})

t.test('what is sealed while an export runs is in it once', async (t) => {
  const tenant = await sealedTenant()
  await write(tenant, 5)
  const client = await databaseOf(t, { db, superuser }, tenant.tenantId)
  await client.query('begin; lock table audit_log in access exclusive mode')
  const positions: (number | null)[] = []
  const exporting = service.router.use(tenant.tenantId, async (inside) => {
    for await (const { position } of streamEntries(inside as never, {})) positions.push(position)
  })
  const waits = "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
  await until(async () => (await asSuperuser(tenant.tenantId, waits)).length === 1)
  await client.query(`insert into audit_seals select 10 + row_number() over (order by seq), id, sha256('') from audit_log a
    where not exists (select from audit_seals where entry_id = a.id)`)
  await client.query('commit')
  await exporting
  t.strictSame(
    positions,
    Array.from({ length: 15 }, (_, n) => n + 1),
  )
})

t.test('a tenant that was written to is sealed without anybody asking', async (t) => {
  const tenant = await newTenant()
  await write(tenant, 3)
  const position = async () =>
    (
      await db
        .selectFrom('audit_checkpoints')
        .select('position')
        .where('tenant_id', '=', tenant.tenantId)
        .executeTakeFirst()
    )?.position
  await until(async () => {
    await manager.sealAuditLogs()
    return (await position()) === '3'
  })
  await write(tenant, 2)
  await until(async () => {
    await manager.sealAuditLogs()
    return (await position()) === '5'
  })
  await manager.stopSealing()
  t.match(await verify(tenant), { ok: true, verified: 5 })
})

t.test(
  'the customer proves an export with Node alone; a checkpoint of another tenant or key is none',
  async (t) => {
    const [tenant, other] = [await sealedTenant(), await sealedTenant(3)]
    const checkpoint = await checkpointOf(tenant)
    await write(tenant, 2)
    await manager.sealAudit(tenant.tenantId)
    const lines = await exported(tenant)
    t.match(
      await verifyAuditLog(lines, checkpoint, await keys()),
      { sealed: 12, checkpoint: 10 },
      'an old checkpoint',
    )
    const twice = lines.map((line) => line.replace('{', '{"action":"another",'))
    await t.rejects(verifyAuditLog(twice, checkpoint, await keys()), { message: /no export/ })
    const wrong = { ...checkpoint, checkpoint: (await checkpointOf(other)).checkpoint }
    await t.rejects(verifyAuditLog(lines, wrong, await keys()), { message: /another tenant/ })
    await t.rejects(verifyAuditLog(lines, checkpoint, { keys: [] }), { message: /of these keys/ })
    const [head, body] = checkpoint.checkpoint.split('.')
    const unsigned = { ...checkpoint, checkpoint: `${head}.${body}.AAAA` }
    await t.rejects(verifyAuditLog(lines, unsigned, await keys()), { message: /signature/ })
    const token = { ...checkpoint, checkpoint: tenant.token }
    await t.rejects(verifyAuditLog(lines, token, await keys()))

    const folder = await mkdtemp(joinPath(tmpdir(), 'test-freehold-'))
    t.teardown(() => rm(folder, { recursive: true }))
    const files = {
      'audit.ndjson': lines.join('\n'),
      'checkpoint.json': JSON.stringify(checkpoint),
      'keys.json': JSON.stringify(await keys()),
    }
    for (const [name, text] of Object.entries(files)) await writeFile(joinPath(folder, name), text)
    const script = new URL('../../../docs/verify-audit-log.ts', import.meta.url).pathname
    const paths = Object.keys(files).map((name) => joinPath(folder, name))
    const { stdout } = await promisify(execFile)(process.execPath, [script, ...paths])
    t.match(JSON.parse(stdout), { sealed: 12, checkpoint: 10, unsealed: 1 })
  },
)

t.test(
  "another tenant's checkpoint is not to be had, and of the log there is nothing in the master",
  async (t) => {
    const tenant = await newTenant()
    await manager.sealAudit(tenant.tenantId)
    t.match((await call('GET', '/api/audit/checkpoint', { token: tenant.token })).body, { code: 'not_found' })
    await asSuperuser(
      tenant.tenantId,
      `insert into audit_log (id, actor_kind, action, entity_type, before, after, details)
     values (gen_random_uuid(), 'system', 'canary.action', 'test', '{"x": "canary-one"}', '{"x": "canary-two"}', '{"x": "canary-three"}')`,
    )
    await manager.sealAudit(tenant.tenantId)
    const client = await connectTo(t, master.address)
    const { rows: tables } = await client.query(
      "select format('%I.%I', schemaname, tablename) as name from pg_tables where schemaname in ('public', 'graphile_worker')",
    )
    for (const { name } of tables) {
      const { rows } = await client.query(`select from ${name} as t where t::text ~ 'canary'`)
      t.equal(rows.length, 0, name)
    }
  },
)
