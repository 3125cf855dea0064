/**
 * Can somebody tell by the answer, or by the time it takes, what an address is to us? Each round asks once for each kind of address, in an
 * order drawn anew, over one connection. Status, headers and body must be the same byte by byte but for date and request id; the
 * medians of the times must lie within 2 % of those of an unknown address.
 * Usage: node bench/same-answer.ts [--quick] [--only login,forgot] [--write]
 */
import { parseArgs } from 'node:util'
import { type AddressKind, addressKinds } from '../test/helpers/addresses.ts'
import { randomFrom } from '../test/helpers/random.ts'
import { addAddresses, post, startAccounts } from './lib/accounts.ts'
import { type Line, openLine } from './lib/cannon.ts'
import { median } from './lib/pair.ts'
import { machineLine, type Promised, report, table } from './lib/report.ts'
import { inTurn } from './lib/turn.ts'
import { openWorld } from './lib/world.ts'

const { values: flags } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string' },
    write: { type: 'boolean', default: false },
  },
})

const rounds = flags.quick ? 200 : 2_000
const warmUp = 20
/** Rounds between two waits for the machine. */
const roundsATurn = 250
const mostApart = 0.02

type Asked = { path: string; body: (email: string) => object }
const all: Record<string, Asked> = {
  login: { path: '/auth/login', body: (email) => ({ email, password: 'not the password of any' }) },
  register: {
    path: '/auth/register',
    body: (email) => ({ email, password: 'the password of a stranger', firstName: 'Eve' }),
  },
  forgot: { path: '/auth/password/forgot', body: (email) => ({ email }) },
  resend: { path: '/auth/email/resend', body: (email) => ({ email }) },
}
const wanted = Object.entries(all).filter(([name]) => flags.only?.split(',').includes(name) ?? true)

type Addresses = Record<AddressKind, string>
type Times = Record<AddressKind, number[]>

/** What is the answer's own: its date and its id, which an error's body repeats. */
const comparable = (bytes: Buffer): string => {
  const text = bytes.toString('latin1')
  const id = /^x-request-id: (\S+)\r$/im.exec(text)?.[1] ?? ''
  return text.replaceAll(id, '').replace(/^date: .*$/im, '')
}

const shuffled = <T>(items: readonly T[], random: () => number): T[] =>
  items
    .map((item) => ({ item, place: random() }))
    .sort((a, b) => a.place - b.place)
    .map(({ item }) => item)

const random = randomFrom(1)

const ask = async (
  line: Line,
  { path, body }: Asked,
  addresses: Addresses,
  times: Times,
  answers: Set<string>,
) => {
  for (const kind of shuffled(addressKinds, random)) {
    const { ms, bytes } = await line.ask(post(path, body(addresses[kind])))
    times[kind].push(ms)
    answers.add(comparable(bytes))
  }
}

const measure = async (port: number, asked: Asked, addresses: Addresses) => {
  const times = Object.fromEntries(addressKinds.map((kind) => [kind, []])) as unknown as Times
  const warm = structuredClone(times)
  const answers = new Set<string>()
  for (let done = 0; done < rounds; done += roundsATurn) {
    await inTurn(async () => {
      const line = await openLine(port)
      try {
        for (let n = 0; n < warmUp; n += 1) await ask(line, asked, addresses, warm, answers)
        for (let n = done; n < Math.min(done + roundsATurn, rounds); n += 1) {
          await ask(line, asked, addresses, times, answers)
        }
      } finally {
        line.close()
      }
    })
  }
  return { medians: addressKinds.map((kind) => median(times[kind])), answers }
}

const world = await openWorld({ tenants: 1, maxConnections: 100 })
try {
  const addresses = await addAddresses(world, 'bench')
  const server = await startAccounts(world)
  const rows: string[][] = []
  const promises: Promised[] = []
  const failures: string[] = []
  const unknown = addressKinds.indexOf('unknown')
  for (const [name, asked] of wanted) {
    const { medians, answers } = await measure(server.port, asked, addresses)
    const base = medians[unknown] ?? Number.NaN
    const ratios = medians.map((value) => value / base)
    rows.push([
      name,
      base.toFixed(2),
      ...ratios.filter((_, n) => n !== unknown).map((ratio) => ratio.toFixed(4)),
    ])
    const apart = Math.max(...ratios.map((ratio) => Math.abs(ratio - 1)))
    promises.push({ what: `${name}, furthest from an unknown address`, seen: apart, most: mostApart })
    if (answers.size !== 1) failures.push(`${name} has ${answers.size} answers: ${[...answers].join('\n')}`)
    console.log(rows.at(-1)?.join(' '))
  }
  await server.stop()
  const head = ['median', 'unknown, ms', ...addressKinds.filter((kind) => kind !== 'unknown')]
  const how = `${machineLine(world.postgres.version)}; ${rounds} rounds, one answer for all: ${failures.length === 0 ? 'yes' : 'no'}`
  await report({
    name: 'same-answer',
    text: [how, table(head, rows)].join('\n\n'),
    promises,
    failures,
    write: flags.write,
  })
} finally {
  await world.close()
}
