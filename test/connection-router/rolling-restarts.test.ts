import { Agent, request } from 'node:http'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import type { PostgresAddress } from '../../src/kernel/postgres-address.ts'
import { startTestPostgres } from '../helpers/postgres.ts'
import { type Client, enter, rowsOf, signUp } from '../start-up/client.ts'
import { type Freehold, startFreehold } from '../start-up/process.ts'

const postgres = await startTestPostgres(t)

const urlOf = ({ host, port, database, user, password }: PostgresAddress): string =>
  `postgres://${user}:${encodeURIComponent(password)}@localhost:${port}/${database}?host=${encodeURIComponent(host)}`

const startNode = (t: Test, role: 'all' | 'api', port = 0): Freehold =>
  startFreehold(t, undefined, {
    env: {
      MASTER_DATABASE_URL: urlOf(postgres.master),
      PROVISIONER_DATABASE_URL: urlOf(postgres.provisioner),
      MASTER_KEY: Buffer.alloc(32, 7).toString('hex'),
      // The same for both, because it is in every token.
      PUBLIC_URL: 'http://localhost:4000',
      VERIFY_EMAIL: 'after',
      HOST: '127.0.0.1',
      LOG_LEVEL: 'fatal',
      ROLE: role,
      PORT: String(port),
    },
  })

/** The status, or the code of the error when there is no answer. */
const ask = async (agent: Agent, url: string, token: string, body?: string): Promise<number | string> => {
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
  const method = body === undefined ? 'GET' : 'POST'
  request(url, { agent, headers, method }, (answer) => {
    text(answer).then(() => resolve(answer.statusCode ?? 0), reject)
  })
    .on('error', reject)
    .end(body)
  return promise.catch((error: { code?: string; message: string }) => error.code ?? error.message)
}

type Seen = { outcomes: Map<string, number>; acknowledged: string[] }

/** A client with a kept-alive connection to each node; one that refuses the connection is left for the other one, once. */
const client = async (
  n: number,
  seen: Seen,
  addresses: readonly string[],
  token: string,
  going: () => boolean,
): Promise<void> => {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  for (let i = 0; going(); i += 1) {
    const [first = '', second = ''] = i % 2 === 0 ? addresses : addresses.toReversed()
    const name = `${n}-${i}`
    const body = i % 3 === 0 ? JSON.stringify({ name }) : undefined
    const path = '/api/projects?limit=1'
    let outcome = await ask(agent, `${first}${path}`, token, body)
    if (outcome === 'ECONNREFUSED') outcome = await ask(agent, `${second}${path}`, token, body)
    seen.outcomes.set(String(outcome), (seen.outcomes.get(String(outcome)) ?? 0) + 1)
    if (outcome === 201) seen.acknowledged.push(name)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  agent.destroy()
}

const allNames = async (member: Client): Promise<string[]> => {
  const names: string[] = []
  let cursor = ''
  do {
    const page = await member.call('GET', `/api/projects?limit=100${cursor}`)
    names.push(...rowsOf(page).map((project) => String(project.name)))
    cursor = page.body.nextCursor === null ? '' : `&cursor=${String(page.body.nextCursor)}`
  } while (cursor !== '')
  return names
}

const portOf = async (node: Freehold): Promise<number> => Number(new URL((await node.ready).address).port)

t.test('two nodes are restarted in turn under load, and no request fails', async (t) => {
  const nodes = [startNode(t, 'all'), startNode(t, 'api')]
  const ports = await Promise.all(nodes.map(portOf))
  const addresses = ports.map((port) => `http://127.0.0.1:${port}`)
  const person = await signUp(addresses[0] ?? '', 'rolling@example.com', 'long enough to pass')
  await person.call('POST', '/tenants', { name: 'Rolling', slug: 'rolling' })
  const { body } = await person.call('POST', '/auth/switch', { tenant: 'rolling' })
  const token = String(body.accessToken)
  const seen: Seen = { outcomes: new Map(), acknowledged: [] }
  const state = { going: true }
  const load = Promise.all(
    Array.from({ length: 8 }, (_, n) => client(n, seen, addresses, token, () => state.going)),
  )
  for (let i = 0; i < 4; i += 1) {
    const turn = i % 2
    t.same(await nodes[turn]?.end('SIGTERM'), { code: 0, signal: null })
    const node = startNode(t, turn === 0 ? 'all' : 'api', ports[turn])
    nodes[turn] = node
    await node.ready
  }
  state.going = false
  await load
  t.same([...seen.outcomes.keys()].sort(), ['200', '201'])
  const names = await allNames(await enter(person, 'rolling'))
  t.equal(names.length, new Set(names).size, 'no write is doubled')
  t.same(
    seen.acknowledged.filter((name) => !names.includes(name)),
    [],
    'no acknowledged write is lost',
  )
})
