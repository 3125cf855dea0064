/**
 * How fast the audit log of one tenant is sealed and verified, and whether sealing keeps up with a thousand entries a second.
 * Usage: node bench/audit.ts [--write]
 */
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { createSecretBox } from '../src/kernel/crypto.ts'
import { createLogger } from '../src/kernel/log.ts'
import { clientOptions } from '../src/kernel/postgres-address.ts'
import { openInstallation } from '../src/master/installation.ts'
import { openMaster } from '../src/master/master.ts'
import { createTenantManager } from '../src/tenant-manager/tenant-manager.ts'
import { countsGiven } from './lib/command-line.ts'
import { machineLine, report, table } from './lib/report.ts'
import { openWorld } from './lib/world.ts'

const backlog = 50_000
const perSecond = 1_000
const seconds = 20
const { write: intoReadme } = countsGiven({}, { write: true })

const world = await openWorld({ tenants: 1, maxConnections: 100 })
const log = createLogger('warn')
const master = openMaster(world.grounds.master, log)
const box = createSecretBox(Buffer.from(world.grounds.masterKey, 'base64'))
const manager = createTenantManager({
  ...{ master, box, installationId: await openInstallation(master.db, box), log },
  ...{ spareDatabases: 0, tenantMaxConnections: 8 },
})
try {
  const [tenant] = world.tenants
  if (tenant === undefined) throw new Error('there is no tenant')
  const { tenantId } = tenant
  const client = new pg.Client(clientOptions(tenant.address))
  await client.connect()
  const write = (count: number) =>
    client.query(
      `insert into audit_log (id, actor_kind, actor_id, action, entity_type, entity_id, before, after, address, user_agent, request_id)
       select gen_random_uuid(), 'person', gen_random_uuid(), 'project.updated', 'project', gen_random_uuid(),
              jsonb_build_object('name', 'Bridge ' || n, 'description', repeat('x', 100)),
              jsonb_build_object('name', 'Tunnel ' || n, 'description', repeat('y', 100)),
              '203.0.113.7', 'Mozilla/5.0 (X11; Linux x86_64)', gen_random_uuid()::text
         from generate_series(1, $1) n`,
      [count],
    )
  const unsealed = async (): Promise<number> => {
    const { rows } = await client.query(
      'select count(*)::int as n from audit_log a where not exists (select from audit_seals s where s.entry_id = a.id)',
    )
    return Number(rows[0].n)
  }
  const rate = async (count: number, work: () => Promise<unknown>): Promise<number> => {
    const begin = performance.now()
    await work()
    return (count / (performance.now() - begin)) * 1_000
  }
  await manager.sealAudit(tenantId)
  await write(backlog)
  const sealing = await rate(backlog, () => manager.sealAudit(tenantId))
  const verifying = await rate(backlog, () => manager.verifyAudit(tenantId))

  // As a worker does it: one pass a second, told by the server's counters.
  const state = { going: true }
  const passes = (async () => {
    while (state.going) {
      await manager.sealAuditLogs()
      await sleep(1_000)
    }
  })()
  const behind: number[] = []
  for (const begin = performance.now(); performance.now() - begin < seconds * 1_000; ) {
    const turn = performance.now()
    for (let part = 0; part < 10; part += 1) await write(perSecond / 10)
    behind.push(await unsealed())
    await sleep(Math.max(0, 1_000 - (performance.now() - turn)))
  }
  let waited = performance.now()
  while ((await unsealed()) > 0) await sleep(100)
  waited = performance.now() - waited
  state.going = false
  await passes
  const most = Math.max(...behind)
  const whole = (await manager.verifyAudit(tenantId))?.ok === true
  await client.end()
  await report({
    name: 'audit',
    text: `${machineLine(world.postgres.version)}\n\n${table(
      ['one audit log', 'seen'],
      [
        [`entries sealed a second, ${backlog} at once`, sealing.toFixed(0)],
        ['entries verified a second', verifying.toFixed(0)],
        [`unsealed at most, at ${perSecond} entries a second`, String(most)],
        ['milliseconds until the last one is sealed', waited.toFixed(0)],
      ],
    )}`,
    promises: [
      { what: 'entries sealed a second', seen: sealing, least: perSecond },
      // Told of the first after a second, and of none later than ten.
      { what: `unsealed at most, at ${perSecond} a second`, seen: most, most: 12 * perSecond },
      { what: 'problems in the chain', seen: whole ? 0 : 1, most: 0 },
    ],
    failures: [],
    write: intoReadme,
  })
} finally {
  await manager.close()
  await master.close()
  await world.close()
}
