import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/** A request as bytes, and bytes that its answer must hold: the id of what was asked for. */
export type Shot = Readonly<{ request: Buffer; expect: Buffer }>

/** What came back. Anything but `200` with the expected body counts as failed, also while warming up. */
export type Volley = Readonly<{
  /** In the time that counts. */
  answers: number
  failed: number
  /** The first few failures, as they were answered. */
  failures: readonly string[]
  seconds: number
  /** Milliseconds from a request to its answer, sorted. */
  latencies: Float64Array
}>

const headEnd = Buffer.from('\r\n\r\n')
const lineEnd = Buffer.from('\r\n')
const keptFailures = 3

export const shot = (path: string, headers: Record<string, string>, expect: string): Shot => {
  const lines = Object.entries({ host: '127.0.0.1', ...headers }).map(
    ([name, value]) => `${name}: ${value}\r\n`,
  )
  return {
    request: Buffer.from(`GET ${path} HTTP/1.1\r\n${lines.join('')}\r\n`),
    expect: Buffer.from(expect),
  }
}

/** Where a body in chunks ends; undefined while some of it is missing. None of the servers sends trailers. */
const endOfChunks = (bytes: Buffer, body: number): number | undefined => {
  for (let at = body; ; ) {
    const line = bytes.indexOf(lineEnd, at)
    if (line === -1) return undefined
    const size = Number.parseInt(bytes.toString('latin1', at, line), 16)
    at = line + lineEnd.length + size + lineEnd.length
    if (at > bytes.length) return undefined
    if (size === 0) return at
  }
}

/** The length of the first whole answer in `bytes`, and where its body begins; undefined while some of it is missing. */
const measure = (bytes: Buffer): { body: number; end: number } | undefined => {
  const head = bytes.indexOf(headEnd)
  if (head === -1) return undefined
  const names = bytes.toString('latin1', 0, head)
  const body = head + headEnd.length
  const length = /\r\ncontent-length: (\d+)/i.exec(names)?.[1]
  if (length === undefined && !/\r\ntransfer-encoding: chunked/i.test(names))
    throw new Error('an answer names no length')
  const end = length === undefined ? endOfChunks(bytes, body) : body + Number(length)
  return end !== undefined && end <= bytes.length ? { body, end } : undefined
}

/** One answer: whether it was as expected, and how long it took in milliseconds. */
export type Answer = Readonly<{ good: boolean; ms: number; bytes: Buffer }>

/** One connection to a server, with one request on it at a time. */
export type Line = Readonly<{ ask(wanted: Shot): Promise<Answer>; close(): void }>

const isGood = (bytes: Buffer, body: number, expect: Buffer): boolean =>
  bytes.toString('latin1', 9, 12) === '200' && bytes.includes(expect, body)

/** Opens a connection. What is asked rejects once the server has hung up. */
export const openLine = async (port: number): Promise<Line> => {
  const socket = connect(port, '127.0.0.1').setNoDelay(true)
  await once(socket, 'connect')
  let left: Buffer = Buffer.alloc(0)
  let waiting: { wanted: Shot; since: number; settle: PromiseWithResolvers<Answer> } | undefined
  let gone: Error | undefined
  socket.on('data', (chunk: Buffer) => {
    left = left.length === 0 ? chunk : Buffer.concat([left, chunk])
    const answer = measure(left)
    if (answer === undefined || waiting === undefined) return
    const { wanted, since, settle } = waiting
    const bytes = left.subarray(0, answer.end)
    left = left.subarray(answer.end)
    waiting = undefined
    settle.resolve({ good: isGood(bytes, answer.body, wanted.expect), ms: performance.now() - since, bytes })
  })
  const hangUp = (error: Error): void => {
    gone ??= error
    waiting?.settle.reject(gone)
  }
  socket.on('error', hangUp)
  socket.on('close', () => hangUp(new Error('the connection to the server has ended')))
  return {
    ask: (wanted) => {
      const settle = Promise.withResolvers<Answer>()
      if (gone !== undefined) settle.reject(gone)
      waiting = { wanted, since: performance.now(), settle }
      socket.write(wanted.request)
      return settle.promise
    },
    close: () => socket.destroy(),
  }
}

/**
 * Keeps `connections` requests under way for `warmUp` seconds that do not count and `seconds` that do. Leaner than the
 * usual tools, which on a machine of two cores would take the server's own time. `begun` and `ended` frame what counts.
 */
export const fire = async (options: {
  port: number
  connections: number
  warmUp: number
  seconds: number
  next: () => Shot
  begun?: () => Promise<void>
  ended?: () => Promise<void>
}): Promise<Volley> => {
  const { port, connections, warmUp, seconds, next } = options
  const latencies: number[] = []
  const failures: string[] = []
  let [phase, failed] = ['warming' as 'warming' | 'counting' | 'over', 0]
  const keepAsking = async (line: Line): Promise<void> => {
    while (phase !== 'over') {
      const { good, ms, bytes } = await line.ask(next())
      if (phase === 'counting') latencies.push(ms)
      if (good) continue
      failed += 1
      if (failures.length < keptFailures) failures.push(bytes.toString())
    }
  }
  const course = async (): Promise<number> => {
    await sleep(warmUp * 1000)
    await options.begun?.()
    phase = 'counting'
    const begin = performance.now()
    await sleep(seconds * 1000)
    phase = 'over'
    const took = (performance.now() - begin) / 1000
    await options.ended?.()
    return took
  }
  const lines = await Promise.all(Array.from({ length: connections }, () => openLine(port)))
  try {
    const [took] = await Promise.all([course(), ...lines.map(keepAsking)])
    return {
      answers: latencies.length,
      failed,
      failures,
      seconds: took,
      latencies: Float64Array.from(latencies).sort(),
    }
  } finally {
    for (const line of lines) line.close()
  }
}
