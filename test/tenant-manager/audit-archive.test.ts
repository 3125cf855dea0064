import t from 'tap'
import { verifyAuditLog } from '../../docs/verify-audit-log.ts'
import { eraseArchives, findArchive, readArchive } from '../../src/master/audit-archives.ts'
import { findCheckpoint } from '../../src/master/audit-checkpoints.ts'
import { auditJwks } from '../../src/master/audit-keys.ts'
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
const count = async (tenantId: string): Promise<number> =>
  (await (await inside(tenantId)).query('select from audit_log')).rows.length

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

    const old = await newTenant()
    await (await inside(old.id)).query(
      `alter table audit_log disable trigger all; delete from audit_log; alter table audit_log enable trigger all`,
    )
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
    await purge(id)
    const archive = await findArchive(db, id)
    const lines: string[] = []
    for await (const text of readArchive(db, box, id)) lines.push(...text.trimEnd().split('\n'))
    t.equal(lines.length, Number(archive?.entries))
    t.ok(lines.length > 4_500, 'with what waited in the outbox')
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
