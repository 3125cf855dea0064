import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { PassThrough } from 'node:stream'
import { mock } from 'node:test'
import pg from 'pg'
import t, { type Test } from 'tap'
import { Overseer } from '../../src/connection-router/overseer.ts'
import { StatementTexts } from '../../src/connection-router/statement-texts.ts'
import { RouterCounters } from '../../src/connection-router/stats.ts'
import { flush } from '../../src/connection-router/wire/messages.ts'
import { Pipeline } from '../../src/connection-router/wire/pipeline.ts'
import { Statement } from '../../src/connection-router/wire/statement.ts'
import { ticksIn } from '../../src/connection-router/wire/watch.ts'

/** How long a silent connection is kept; ticks and timers are moved by hand, so no test waits for them. */

/** So long nobody asks, and so long who is asked may think. Milliseconds. */
const [silenceMs, thinkingMs] = [1_200, 1_200]

/** A door at which somebody takes the knocks; what it says is up to the test. */
const openDoor = async (t: Test): Promise<{ door: Server; port: number }> => {
  const door = createServer()
  const knocks = new Set<Socket>()
  door.on('connection', (socket) => knocks.add(socket.on('error', () => {})))
  await once(door.listen(0, '127.0.0.1'), 'listening')
  t.teardown(() => {
    for (const socket of knocks) socket.destroy()
    door.close()
  })
  return { door, port: (door.address() as AddressInfo).port }
}

/** A connection with a statement in flight whose server says nothing from now on, and who looks after it. */
const silentConnection = (
  port: number,
  { host = '127.0.0.1', statementTimeoutMs = 60_000, says = [] as (boolean | undefined)[] } = {},
) => {
  const questions: object[] = []
  const watch = { now: 0, add: () => {} }
  const wire = new pg.Connection({ stream: () => new PassThrough() })
  const pipeline = new Pipeline(wire, watch, { answered: () => {}, error: () => {}, confused: () => {} })
  pipeline.attach()
  pipeline.send(new Statement(new StatementTexts().of('select 1'), [], undefined), false)
  const [sent, counters, died] = [[] as Buffer[], new RouterCounters(), Promise.withResolvers<unknown>()]
  let [end, bytesRead]: [unknown, number] = [undefined, 0]
  const overseer = new Overseer({
    ...{ pipeline, counters, statementTimeoutMs },
    address: { host, port, database: '', user: '', password: '', ssl: 'disable' },
    cancelKey: () => ({ processId: 4711, secret: 1 }),
    askAboutSession: async (question) => {
      questions.push(question)
      return says.shift()
    },
    spoil: () => {},
    write: (bytes) => sent.push(bytes),
    bytesRead: () => bytesRead,
    die: (cause) => {
      end = cause
      died.resolve(cause)
    },
  })
  return {
    ...{ counters, sent, questions, died: died.promise },
    /** What it died of, so far. */
    get end(): unknown {
      return end
    },
    /** The server says something that does not end the statement. */
    hear: () => wire.emit('noData'),
    /** A part of a message comes. */
    hearPart: () => {
      bytesRead += 1
    },
    /** So much time passes for it, tick by tick. */
    pass: (ms: number): void => {
      for (let ticks = ticksIn(ms); ticks > 0; ticks -= 1) {
        watch.now += 1
        overseer.onTick(watch.now)
      }
    },
  }
}

/** Timers that go when the test says so, until its end. */
const handTimers = (t: Test): ((ms: number) => Promise<void>) => {
  mock.timers.enable({ apis: ['setTimeout'] })
  t.teardown(() => mock.timers.reset())
  return async (ms) => {
    mock.timers.tick(ms)
    await new Promise(setImmediate)
  }
}

t.test('a server that is asked after 1.2 s, and says nothing for 1.2 s more, is given up', async (t) => {
  const { door, port } = await openDoor(t)
  const pass = handTimers(t)
  const connection = silentConnection(port)
  connection.pass(silenceMs - 5)
  t.strictSame(connection.sent, [], 'it may be busy')
  const knock = once(door, 'connection')
  connection.pass(5)
  t.strictSame(connection.sent, [flush], 'a server that was restarted would answer with a reset')
  const [socket] = await knock
  t.equal((await once(socket, 'data'))[0].length, 8, 'it is asked whether it speaks TLS')
  await pass(thinkingMs - 1)
  t.equal(connection.end, undefined, 'it may still be thinking')
  await pass(1)
  t.match(connection.end, { message: 'the server does not answer' })
  t.equal(connection.counters.halfOpen, 1)
})

t.test('where nobody listens any more, it is given up at once', async (t) => {
  const { door, port } = await openDoor(t)
  await once(door.close(), 'close')
  handTimers(t)
  const connection = silentConnection(port)
  connection.pass(silenceMs)
  t.match(await connection.died, { code: 'ECONNREFUSED' })
  t.equal(connection.counters.halfOpen, 1)
})

t.test('a session that works is left alone, and asked about again after as long a silence', async (t) => {
  const { door, port } = await openDoor(t)
  const pass = handTimers(t)
  const connection = silentConnection(port, { says: [false, false] })
  for (const times of [1, 2]) {
    const knock = once(door, 'connection')
    connection.pass(silenceMs)
    t.equal(connection.sent.length, times)
    const [socket] = await knock
    await once(socket, 'data')
    const closed = new Promise((resolve) => socket.once('close', resolve))
    socket.end('N')
    await closed
    await pass(thinkingMs)
  }
  t.equal(connection.end, undefined)
  t.equal(connection.counters.halfOpen, 0)
})

/** Lets the door be answered once, and what follows from that happen. */
const answerKnock = async (knock: Promise<unknown[]>): Promise<void> => {
  const [socket] = (await knock) as [Socket]
  await once(socket, 'data')
  socket.end('N')
  await once(socket, 'close')
  for (let i = 0; i < 5; i += 1) await new Promise(setImmediate)
}

/** A silent connection whose server answers the knock; asked about the session, it says these one after the other. */
const answeredAtTheDoor = async (t: Test, says: (boolean | undefined)[]) => {
  const { door, port } = await openDoor(t)
  const pass = handTimers(t)
  const connection = silentConnection(port, { says })
  const knock = once(door, 'connection')
  connection.pass(silenceMs)
  await answerKnock(knock)
  return { connection, pass }
}

t.test('who answers the knock, and says twice that the session waits for us, has lost it', async (t) => {
  const { connection, pass } = await answeredAtTheDoor(t, [true, true])
  t.strictSame(connection.questions, [{ processId: 4711, andEnd: false, timeoutMs: 400 }])
  t.equal(connection.end, undefined, 'its answer may be on the way')
  await pass(499)
  t.equal(connection.questions.length, 1)
  await pass(1)
  t.match(connection.questions[1], { andEnd: true }, 'what it holds is free')
  t.match(connection.end, { message: /lost on the way/ })
  t.equal(connection.counters.halfOpen, 1)
})

t.test('one that could not say is asked again, three times in all', async (t) => {
  const { connection, pass } = await answeredAtTheDoor(t, [undefined, true, true])
  await pass(500)
  t.equal(connection.end, undefined)
  await pass(500)
  t.match(connection.end, { message: /lost on the way/ })
})

t.test('when nobody could say after that, it is left alone', async (t) => {
  const { connection, pass } = await answeredAtTheDoor(t, [true, undefined, undefined, true])
  for (let i = 0; i < 3; i += 1) await pass(500)
  t.equal(connection.questions.length, 3)
  t.equal(connection.end, undefined)
})

t.test('a session that waited for us and works now is left alone', async (t) => {
  const { connection, pass } = await answeredAtTheDoor(t, [true, false])
  for (let i = 0; i < 3; i += 1) await pass(500)
  t.equal(connection.questions.length, 2)
  t.equal(connection.end, undefined)
})

for (const [what, hear] of [
  ['answers', 'hear'],
  ['sends a part of its answer', 'hearPart'],
] as const) {
  t.test(`so is one that ${what} while we ask`, async (t) => {
    const { connection, pass } = await answeredAtTheDoor(t, [true, true])
    connection.pass(5)
    connection[hear]()
    await pass(500)
    t.equal(connection.end, undefined)
    t.equal(connection.counters.halfOpen, 0)
  })
}

t.test('who says anything while we knock in vain is not given up', async (t) => {
  const { door, port } = await openDoor(t)
  const pass = handTimers(t)
  const connection = silentConnection(port)
  const knock = once(door, 'connection')
  connection.pass(silenceMs)
  await knock
  connection.pass(5)
  connection.hear()
  await pass(thinkingMs)
  t.equal(connection.end, undefined)
  connection.pass(silenceMs - 5)
  t.equal(connection.sent.length, 1, 'the silence begins anew')
  connection.pass(5)
  t.equal(connection.sent.length, 2)
})

t.test('whatever the door says, who is silent 2 s past the statement timeout is gone', async (t) => {
  // Over a unix socket nobody knocks.
  const connection = silentConnection(5432, { host: '/nowhere', statementTimeoutMs: 10_000 })
  connection.pass(11_995)
  t.equal(connection.end, undefined)
  connection.pass(5)
  t.match(connection.end, { message: /silent past the statement timeout/ })
  t.strictSame(connection.sent, [])
})
