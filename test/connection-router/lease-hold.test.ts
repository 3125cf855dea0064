import t from 'tap'
import { LeaseHold } from '../../src/connection-router/lease.ts'
import { Permits } from '../../src/connection-router/permits.ts'
import { StatementTexts } from '../../src/connection-router/statement-texts.ts'
import { RouterCounters } from '../../src/connection-router/stats.ts'
import { TenantConnection } from '../../src/connection-router/tenant-connection.ts'
import { type Slot, TenantPool } from '../../src/connection-router/tenant-pool.ts'
import { Statement } from '../../src/connection-router/wire/statement.ts'
import { Watch } from '../../src/connection-router/wire/watch.ts'

const address = { host: '', port: 1, database: 'd', user: 'd', password: '', ssl: 'disable' } as const

const newSlot = (): Slot<TenantConnection> => {
  const placement = { tenantId: 'a', status: 'active', databaseId: 'd', clusterId: 'main', epoch: 1 } as const
  const pool = new TenantPool<TenantConnection>({
    placement: { ...placement, credentialVersion: 1, address },
    identity: 'a/d/1/1',
    lookup: 1,
  })
  const permit = new Permits(1).take('a')
  if (permit === undefined) throw new Error('no permit')
  const events = { broken() {}, ended() {}, settled() {}, mismatch() {}, loginSaid() {} }
  // Never opened: only its place in the books is of interest here.
  const connection = new TenantConnection(
    address,
    { statementTimeoutMs: 1_000, connectTimeoutMs: 1_000 },
    events,
    {
      tenantId: 'a',
      watch: new Watch(),
      counters: new RouterCounters(),
      askAboutSession: async () => undefined,
    },
  )
  return {
    pool,
    permit,
    connection,
    state: 'busy',
    shared: false,
    turnSince: 0,
    turns: 0,
    keptSince: 0,
    idleSince: 0,
    pausing: false,
  }
}

t.test('a connection that comes in the moment in which the lease is released goes back', async (t) => {
  const slot = newSlot()
  const back: Slot<TenantConnection>[] = []
  const hold: LeaseHold = new LeaseHold(
    {
      acquire: async () => {
        hold.finish()
        return slot
      },
      giveBack: (given) => back.push(given),
      released: () => {},
      texts: new StatementTexts(),
      tryRun: () => false,
      waitAndRun: async () => {},
      retrying: () => {},
    },
    slot.pool,
    0,
  )
  await t.rejects(hold.hold(undefined), /lease was released/)
  t.equal(back.length, 1)
  t.equal(slot.pool.leases, 0)
})

t.test("a connection refuses a statement of another tenant's lease", async (t) => {
  const { connection } = newSlot()
  const owner = { tenantId: 'b', aborted: false, reason: undefined, rescue: async () => {} }
  const statement = new Statement(new StatementTexts().of('select 1'), [], owner)
  connection.run(statement)
  await t.rejects(statement.promise, /another tenant's connection/)
})
