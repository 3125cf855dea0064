/**
 * What do 200 sign-ins at once do to everybody else? A few clients read a project of a tenant, again and again with pauses, first alone and then
 * while 200 wrong and right sign-ins, sent at one moment, are being answered. Fails when the readers' p99 more than doubles, when one of them gets
 * anything but the project, or when a sign-in gets anything but its answer or 429.
 * Usage: node bench/logins.ts [--quick] [--write]
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { addAddresses, password, post, startAccounts } from './lib/accounts.ts'
import { type Line, openLine, type Shot } from './lib/cannon.ts'
import { median, quantile, shotsFor } from './lib/pair.ts'
import { machineLine, report, table } from './lib/report.ts'
import { inTurn } from './lib/turn.ts'
import { openWorld, type World } from './lib/world.ts'

const { values: flags } = parseArgs({
  options: { quick: { type: 'boolean', default: false }, write: { type: 'boolean', default: false } },
})

const rounds = flags.quick ? 3 : 7
const logins = 200
const readers = 8
/** So long a reader rests between two requests: this is about who is delayed, not about how much fits. Milliseconds. */
const pauseMs = 10
const aloneMs = 5_000

/** Milliseconds of the reads, until `over`. */
const read = async (lines: readonly Line[], wanted: Shot, over: Promise<unknown>) => {
  const seen = { times: [] as number[], failures: [] as string[] }
  let going = true
  const ended = over.finally(() => {
    going = false
  })
  await Promise.all([
    ended,
    ...lines.map(async (line) => {
      while (going) {
        const { good, ms, bytes } = await line.ask(wanted)
        seen.times.push(ms)
        if (!good) seen.failures.push(bytes.toString())
        await sleep(pauseMs)
      }
    }),
  ])
  return { ...seen, times: seen.times.toSorted((a, b) => a - b) }
}

const signInAtOnce = async (
  port: number,
  email: string,
): Promise<{ statuses: string[]; seconds: number }> => {
  const lines = await Promise.all(Array.from({ length: logins }, () => openLine(port)))
  const began = performance.now()
  const answers = await Promise.all(
    lines.map((line, n) =>
      line.ask(post('/auth/login', { email, password: n % 2 === 0 ? password : 'a wrong one' })),
    ),
  )
  for (const line of lines) line.close()
  const statuses = answers.map(({ bytes }) => bytes.toString('latin1', 9, 12))
  return { statuses, seconds: (performance.now() - began) / 1000 }
}

type Round = {
  alone: number
  beside: number
  ratio: number
  seconds: number
  waited: number
  refused: number
}

const measure = async (world: World, port: number, email: string, failures: string[]): Promise<Round> => {
  const [wanted] = shotsFor('freehold', world.tenants)
  if (wanted === undefined) throw new Error('there is no tenant')
  const lines = await Promise.all(Array.from({ length: readers }, () => openLine(port)))
  try {
    await read(lines, wanted, sleep(1_000))
    const before = await read(lines, wanted, sleep(aloneMs))
    const storm = signInAtOnce(port, email)
    const during = await read(lines, wanted, storm)
    const { statuses, seconds } = await storm
    const count = (status: string): number => statuses.filter((one) => one === status).length
    const [answered, refused] = [count('200') + count('401'), count('429')]
    if (answered + refused < logins)
      failures.push(`sign-ins were answered ${[...new Set(statuses)].join(', ')}`)
    failures.push(...before.failures, ...during.failures)
    const [alone, beside] = [quantile(before.times, 0.99), quantile(during.times, 0.99)]
    return { alone, beside, ratio: beside / alone, seconds, waited: answered, refused }
  } finally {
    for (const line of lines) line.close()
  }
}

const world = await openWorld({ tenants: 1, maxConnections: 100 })
try {
  const { known } = await addAddresses(world, 'logins')
  const server = await startAccounts(world)
  const failures: string[] = []
  const seen: Round[] = []
  for (let n = 0; n < rounds; n += 1) {
    seen.push(await inTurn(() => measure(world, server.port, known, failures)))
    console.log(JSON.stringify(seen.at(-1)))
  }
  await server.stop()
  const head = [
    '200 sign-ins at once',
    'p99 before, ms',
    'p99 beside, ms',
    '×',
    'answered',
    '429',
    'seconds for all',
  ]
  const rows = seen.map((one, n) => [
    `round ${n + 1}`,
    ...[one.alone, one.beside, one.ratio].map((value) => value.toFixed(2)),
    ...[one.waited, one.refused].map(String),
    one.seconds.toFixed(1),
  ])
  const ratio = median(seen.map((one) => one.ratio))
  const how = `${machineLine(world.postgres.version)}; ${readers} readers, ${pauseMs} ms of rest between two reads`
  const promises = [{ what: "the others' p99, to before, in the median", seen: ratio, most: 2 }]
  await report({
    name: 'logins',
    text: [how, table(head, rows)].join('\n\n'),
    promises,
    failures,
    write: flags.write,
  })
} finally {
  await world.close()
}
