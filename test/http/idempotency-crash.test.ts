import { spawn } from 'node:child_process'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { nodeApart } from '../helpers/apart.ts'
import { startNode } from '../helpers/freehold.ts'
import { startTestPostgres } from '../helpers/postgres.ts'
import { seedOfRun } from '../helpers/random.ts'
import type { Orders } from './dying-creator.ts'

const postgres = await startTestPostgres(t, 'furnished')
const { call, service, newTenant, asSuperuser } = await startNode(t, postgres)
const { db } = service.master
const admin = await newTenant()
const seed = seedOfRun()
/** A node takes about a second to come up and die: a run tries so many moments, and all of them with STATEMENTS=all. */
const most = process.env.STATEMENTS === 'all' ? Number.POSITIVE_INFINITY : 4

const [program, ...first] = nodeApart
const script = fileURLToPath(new URL('dying-creator.ts', import.meta.url))

/** Runs a node until it dies; answers how many messages it sent when it had an answer. */
const die = async (request: Orders['request'], killAt: number): Promise<number | undefined> => {
  const node = spawn(program, [...first, script], { stdio: ['pipe', 'pipe', 'inherit'] })
  const addresses = { master: postgres.master, provisioner: postgres.provisioner }
  node.stdin.end(JSON.stringify({ addresses, request, killAt } satisfies Orders))
  const ended = new Promise<NodeJS.Signals | null>((resolve) =>
    node.on('close', (_, signal) => resolve(signal)),
  )
  const printed = await text(node.stdout)
  if ((await ended) !== 'SIGKILL') throw new Error('the node failed by itself')
  return printed === '' ? undefined : Number(printed)
}

let count = 0
/** Asks for a thing by a node that dies, then again here; answers how many messages the node sent if it had an answer. */
const createTwice = async (
  url: string,
  body: (name: string) => object,
  killAt: number,
): Promise<{ messages: number | undefined; name: string; status: number }> => {
  count += 1
  const name = `thing-${count}`
  const key = `key-${count}`
  const headers = { authorization: `Bearer ${admin.token}`, 'idempotency-key': key }
  const request = { method: 'POST', url, headers, payload: body(name) } as const
  const messages = await die(request, killAt)
  const again = await call('POST', url, {
    token: admin.token,
    body: body(name),
    headers: { 'idempotency-key': key },
  })
  return { messages, name, status: again.status }
}

const kinds = {
  '/tenants': {
    body: (slug: string) => ({ name: 'X', slug }),
    made: async (slug: string) =>
      (await db.selectFrom('tenants').select('id').where('slug', '=', slug).execute()).length,
  },
  '/api/projects': {
    body: (name: string) => ({ name }),
    made: async (name: string) =>
      (await asSuperuser(admin.tenantId, `select from projects where name = '${name}'`)).length,
  },
}

for (const [url, { body, made }] of Object.entries(kinds)) {
  t.test(`POST ${url}: killed at any point, the request sent again makes one thing`, async (t) => {
    t.comment(`SEED=${seed} repeats the moments of this run`)
    const whole = await createTwice(url, body, 0)
    const { messages = 0 } = whole
    t.ok(messages > 3, `${messages} messages`)
    const stride = Math.ceil(messages / Math.min(most, messages))
    const moments = Array.from({ length: messages }, (_, n) => n + 1).filter(
      (n) => n % stride === seed % stride,
    )
    const queue = moments.values()
    const results = [whole]
    const run = async (): Promise<void> => {
      for (const killAt of queue) results.push(await createTwice(url, body, killAt))
    }
    await Promise.all([run(), run()])
    for (const { name, status } of results) {
      t.ok([201, 202].includes(status), String(status))
      t.equal(await made(name), 1, name)
    }
  })
}
