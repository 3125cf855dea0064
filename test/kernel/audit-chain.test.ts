import t from 'tap'
import { type Ask, sealOf, verifyChain } from '../../src/kernel/audit-chain.ts'

t.test('the proof of a log of large entries lets others have their turn', async (t) => {
  const text = 'x'.repeat(300_000)
  const nothing = { actorId: null, entityId: null, workspaceId: null, address: null, userAgent: null }
  const entries = Array.from({ length: 200 }, (_, n) => ({
    ...{ id: String(n), at: '', actorKind: 'system', action: 'a', entityType: 'b', requestId: null },
    ...{ ...nothing, before: null, after: null, details: { text } },
  }))
  let hash: string | null = null
  const rows = entries.map((entry, n) => {
    hash = sealOf(entry, n + 1, hash)
    return { position: String(n + 1), hash, entry_id: entry.id, entry }
  })
  const answers: readonly unknown[][] = [[{ position: '0', hash: null }], rows, [], [{ n: 0 }]]
  let asked = 0
  const ask: Ask = async () => answers[asked++] ?? []
  let turns = 0
  const count = (): void => {
    turns += 1
    next = setImmediate(count)
  }
  let next = setImmediate(count)
  const report = await verifyChain(ask, async () => ({
    start: { position: 0, hash: null },
    checkpoint: undefined,
  }))
  clearImmediate(next)
  t.match(report, { ok: true, verified: 200, unsealed: 0 })
  t.ok(turns > 2, `${turns} turns`)
})
