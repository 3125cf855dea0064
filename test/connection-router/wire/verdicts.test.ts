import pg from 'pg'
import t from 'tap'
import { StatementTexts } from '../../../src/connection-router/statement-texts.ts'
import { Statement, type StatementOwner } from '../../../src/connection-router/wire/statement.ts'
import {
  mayHaveBegun,
  mayRunAgain,
  wasNoTry,
  wasRefused,
} from '../../../src/connection-router/wire/verdicts.ts'

const owner: StatementOwner = { tenantId: 'a', aborted: false, reason: undefined, rescue: async () => {} }

/** A plain read that the write of this number took to the socket. */
const readIn = (batch: number): Statement => {
  const statement = new Statement(new StatementTexts().of('select 1'), [], owner)
  return Object.assign(statement, { batch, sent: 1, rescuable: true })
}

const brokenPipe = Object.assign(new Error('write EPIPE'), { code: 'EPIPE' })
const reset = Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' })
const killed = Object.assign(new pg.DatabaseError('terminating connection', 0, 'error'), { code: '57P01' })

t.test('what the last write carried was refused when that write broke the pipe, and only then', async (t) => {
  const [earlier, last] = [readIn(1), readIn(2)]
  const writes = { head: earlier, batches: 2 }
  t.notOk(wasRefused(earlier, writes, brokenPipe))
  t.ok(wasRefused(last, writes, brokenPipe))
  t.notOk(wasRefused(last, writes, reset))
  t.notOk(wasRefused(last, writes, killed))
})

t.test(
  'a connection that died of the same blow as the first under a statement was no try of it',
  async (t) => {
    const [read, writes] = [readIn(1), { head: undefined, batches: 1 }]
    const [older, younger] = [
      { openedAt: 1, diedAt: 4 },
      { openedAt: 3, diedAt: 4 },
    ]
    t.notOk(wasNoTry(read, older, writes, killed), 'the first death is one')
    read.lostAt = 2
    t.ok(wasNoTry(read, older, writes, killed))
    t.notOk(wasNoTry(read, younger, writes, killed))
    t.notOk(wasNoTry(read, { openedAt: 1, diedAt: 502 }, writes, killed), 'another blow')
    t.ok(wasNoTry(read, younger, writes, brokenPipe), 'it was refused')
  },
)

t.test('the oldest in flight may have begun, unless it was refused', async (t) => {
  const head = readIn(2)
  t.equal(mayHaveBegun({ head, batches: 2 }, brokenPipe), undefined)
  t.equal(mayHaveBegun({ head, batches: 3 }, brokenPipe), head)
  t.equal(mayHaveBegun({ head, batches: 2 }, reset), head)
})

t.test(
  'a read runs again once, and what may have begun only after the server said why it ended, or could not be heard',
  async (t) => {
    const read = readIn(1)
    t.ok(mayRunAgain(read, false, reset))
    t.notOk(mayRunAgain(read, true, reset))
    t.ok(mayRunAgain(read, true, killed))
    t.ok(mayRunAgain(read, true, brokenPipe))
    read.sent = 2
    t.notOk(mayRunAgain(read, false, reset), 'not a second time')
  },
)
