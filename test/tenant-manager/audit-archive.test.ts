import t from 'tap'
import { verifyAuditLog } from '../../docs/verify-audit-log.ts'
import { eraseArchives, findArchive, readArchive } from '../../src/master/audit-archives.ts'
import { findCheckpoint } from '../../src/master/audit-checkpoints.ts'
import { auditJwks } from '../../src/master/audit-keys.ts'
import { writeMasterAudit } from '../../src/master/audit-log.ts'
import { connectTo, startTestPostgres } from '../helpers/postgres.ts'
import { databaseOf, startLandlord } from '../helpers/tenant-manager.ts'

/** What is removed from audit logs by time, and what is kept of a tenant that was erased. */

const postgres = await startTestPostgres(t)
const { manager, master, box, createTenant } = await startLandlord(t, postgres, { spareDatabases: 1 })
const { db } = master

const newTenant = async () => {
  await manager.refillSpares()
  const tenant = await createTenant()
  await manager.deliverOutbox(tenant.id)
  return tenant
}
const inside = (tenantId: string) => databaseOf(t, { db, superuser: postgres.superuser }, tenantId)
const write = async (tenantId: string, count: number, daysAgo = 0): Promise<void> => {
  const client = await inside(tenantId)
  await client.query(
    `insert into audit_log (id, at, actor_kind, action, entity_type, details)
     select gen_random_uuid(), now() - make_interval(days => $2), 'system', 'test', 'test', '{"x": "canary"}'
       from generate_series(1, $1) n`,
    [count, daysAgo],
  )
  // Nobody may be there when the database goes.
  await client.end()
}
const count = async (tenantId: string): Promise<number> => {
  const client = await inside(tenantId)
  const { rows } = await client.query('select from audit_log')
  await client.end()
  return rows.length
}
/** One whose log has nothing of its creation. */
const newEmptyTenant = async () => {
  const tenant = await newTenant()
  const client = await inside(tenant.id)
  await client.query(
    `alter table audit_log disable trigger all; delete from audit_log; alter table audit_log enable trigger all`,
  )
  await client.end()
  return tenant
}

t.test('killed between the signature and the removal, what was to go is still proved', async (t) => {
  const { id } = await newTenant()
  const client = await inside(id)
  await write(id, 5, 100)
  await manager.sealAudit(id)
  const { rows } = await client.query(
    "select encode(hash, 'hex') as hash from audit_seals where position = 3",
  )
  await db
    .updateTable('audit_checkpoints')
    .set({ pruned_position: '3', pruned_hash: rows[0].hash, pruned: 'signed' })
    .where('tenant_id', '=', id)
    .execute()
  t.match(await manager.verifyAudit(id), { ok: true, verified: await count(id) })
  await client.query(`alter table audit_log disable trigger all;
    update audit_log set action = 'x' where id = (select entry_id from audit_seals where position = 2)`)
  t.match(await manager.verifyAudit(id), { problems: [{ kind: 'altered', position: 2 }] })
})

t.test(
  'what is older than it is to be goes once it is sealed, and the rest is proved as before',
  async (t) => {
    const { id } = await newTenant()
    await write(id, 5, 100)
    await write(id, 3)
    await manager.pruneAuditLogs(90)
    const all = await count(id)
    t.ok(all >= 8, 'nothing goes that is not sealed')
    await manager.sealAudit(id)
    await manager.pruneAuditLogs(90)
    t.equal(await count(id), all, 'nothing goes from behind what is younger')
    const client = await inside(id)
    await client.query(`alter table audit_log disable trigger all; update audit_log set at = at - interval '200 days'
    where id in (select entry_id from audit_seals order by position limit 2)`)
    await manager.pruneAuditLogs(90)
    t.equal(await count(id), all, 'and nothing from a log that was changed')
    await client.query(`update audit_log set at = at + interval '200 days'
    where id in (select entry_id from audit_seals order by position limit 2)`)
    t.match(await manager.verifyAudit(id), { ok: true })

    const old = await newEmptyTenant()
    await write(old.id, 5, 100)
    await write(old.id, 3)
    await manager.sealAudit(old.id)
    await manager.pruneAuditLogs(90)
    t.equal(await count(old.id), 3)
    t.match(await manager.verifyAudit(old.id), { ok: true, verified: 3, head: { position: 8 } })
    t.match(await findCheckpoint(db, old.id), { pruned_position: '5', position: '8' })
    await manager.pruneAuditLogs(0)
    t.equal(await count(old.id), 0)
    t.match(await manager.verifyAudit(old.id), { ok: true, verified: 0 })
    await write(old.id, 2)
    await manager.sealAudit(old.id)
    t.match(await manager.verifyAudit(old.id), { ok: true, verified: 2, head: { position: 10 } })
  },
)

t.test('nothing goes that is not signed; killed after signing, the next time removes the rest', async (t) => {
  const { id } = await newEmptyTenant()
  await write(id, 5, 100)
  await manager.sealAudit(id)
  const signed = await findCheckpoint(db, id)
  await write(id, 4, 100)
  await manager.sealAudit(id)
  const say = (values: object) =>
    db.updateTable('audit_checkpoints').set(values).where('tenant_id', '=', id).execute()
  // Killed between sealing and signing.
  await say({ position: signed?.position, hash: signed?.hash, checkpoint: signed?.checkpoint })
  await manager.pruneAuditLogs(90)
  t.equal(await count(id), 4)
  await write(id, 2)
  await manager.sealAudit(id)
  const { rows } = await (await inside(id)).query(
    "select encode(hash, 'hex') as hash from audit_seals where position = 9",
  )
  await say({ pruned_position: '9', pruned_hash: rows[0]?.hash })
  await manager.pruneAuditLogs(90)
  t.equal(await count(id), 2)
  t.match(await manager.verifyAudit(id), { ok: true, verified: 2 })
})

const purge = async (id: string): Promise<void> => {
  const now = new Date()
  const values = { status: 'deleted', restore_to: 'active', deleted_at: now, purge_after: now } as const
  await db.updateTable('tenants').set(values).where('id', '=', id).execute()
  await manager.purgeTenants()
}

t.test(
  "an erased tenant's log is kept sealed, named by the certificate, proved alone, and goes in its time",
  async (t) => {
    const { id } = await newTenant()
    await write(id, 4_500)
    await db.transaction().execute((trx) =>
      writeMasterAudit(trx, {
        ...{ actor: { kind: 'operator', id: null }, action: 'test.waiting', tenantId: id },
        entity: { type: 'test', id: null },
      }),
    )
    await purge(id)
    const archive = await findArchive(db, id)
    const lines: string[] = []
    for await (const text of readArchive(db, box, id)) lines.push(...text.trimEnd().split('\n'))
    t.equal(lines.length, Number(archive?.entries))
    t.ok(lines.length > 4_500)
    t.match(lines.join(''), 'test.waiting', 'with what waited in the outbox')
    const proof = { tenantId: id, checkpoint: archive?.checkpoint ?? '', pruned: archive?.pruned ?? null }
    t.match(await verifyAuditLog(lines, proof, await auditJwks(db)), { unsealed: 0, sealed: lines.length })
    const certificate = await db
      .selectFrom('erasures')
      .selectAll()
      .where('tenant_id', '=', id)
      .executeTakeFirst()
    t.match(certificate, { audit_entries: String(lines.length), audit_hash: /^[0-9a-f]{64}$/ })
    t.strictSame(certificate?.audit_kept_until, archive?.erase_after)

    const client = await connectTo(t, postgres.master)
    const { rows } = await client.query(
      "select from audit_archive_parts where sealed::text like '%' || encode('canary', 'hex') || '%'",
    )
    t.strictSame(rows, [], 'nobody reads it there')
    await eraseArchives(db)
    t.ok(await findArchive(db, id))
    await db
      .updateTable('audit_archives')
      .set({ erase_after: new Date() })
      .where('tenant_id', '=', id)
      .execute()
    await eraseArchives(db)
    t.strictSame([await findArchive(db, id), await findCheckpoint(db, id)], [undefined, undefined])
    t.strictSame(
      await db.selectFrom('audit_archive_parts').select('id').where('tenant_id', '=', id).execute(),
      [],
    )
  },
)

const isThere = async (id: string): Promise<boolean> =>
  (await db.selectFrom('tenants').select('id').where('id', '=', id).executeTakeFirst()) !== undefined

t.test(
  'a log that was changed is kept as it is, and one that could not be kept keeps its database',
  async (t) => {
    const changed = await newTenant()
    await write(changed.id, 3)
    await manager.sealAudit(changed.id)
    const client = await inside(changed.id)
    await client.query(
      "alter table audit_seals disable trigger all; update audit_seals set hash = sha256('x')",
    )
    await client.end()
    await write(changed.id, 2)
    const all = await count(changed.id)
    await purge(changed.id)
    t.match(await findArchive(db, changed.id), { entries: String(all) })

    const full = await newTenant()
    const room = async (sql: string) => {
      const one = await inside(full.id)
      await one.query(sql)
      await one.end()
    }
    await room('alter table audit_seals add constraint no_room check (false) not valid')
    await t.rejects(purge(full.id), /no_room/)
    t.ok(await isThere(full.id))
    await room('alter table audit_seals drop constraint no_room')
    const version = (schema_version: string) =>
      db.updateTable('databases').set({ schema_version }).where('id', '=', full.database_id).execute()
    await version('0001_projects')
    await t.rejects(purge(full.id), /not migrated yet/)
    t.ok(await isThere(full.id))
    await version(await manager.schemaVersion())
    await purge(full.id)
    t.notOk(await isThere(full.id))
  },
)

t.test('where the database is gone, there is nothing to keep and nothing in the way', async (t) => {
  const { id, database_id } = await newTenant()
  const { name } = await db
    .selectFrom('databases')
    .select('name')
    .where('id', '=', database_id ?? '')
    .executeTakeFirstOrThrow()
  await (await connectTo(t, postgres.superuser)).query(`drop database ${name} with (force)`)
  await purge(id)
  t.strictSame([await isThere(id), await findArchive(db, id)], [false, undefined])
})
