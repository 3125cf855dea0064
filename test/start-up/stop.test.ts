import { once } from 'node:events'
import { Agent, request } from 'node:http'
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client as PostgresClient } from 'pg'
import t, { type Test } from 'tap'
import { findRunningEmbeddedPostgres } from '../../src/embedded-postgres/embedded-postgres.ts'
import { clientOptions } from '../../src/kernel/postgres-address.ts'
import { newDataDir, serversOf, until } from '../embedded-postgres/helpers.ts'
import { type Answer, clientOf, signIn } from './client.ts'
import { newInstalledDataDir } from './installed.ts'
import { startFreehold } from './process.ts'

type Brake = { waiting(): Promise<boolean>; release(): Promise<void> }

/** Makes registrations wait, by a lock on the table of people, until it is released. */
const brakeRegistrations = async (t: Test, dataDir: string): Promise<Brake> => {
  const server = await findRunningEmbeddedPostgres({ dataDir })
  if (server === undefined) throw new Error('no server runs')
  const client = new PostgresClient(clientOptions({ ...server.superuser, database: 'freehold' }))
  client.on('error', () => undefined)
  await client.connect()
  t.teardown(() => client.end())
  await client.query('begin; lock table people in access exclusive mode')
  return {
    waiting: async () =>
      (await client.query(`select from pg_locks where relation = 'people'::regclass and not granted`)).rows
        .length > 0,
    release: async () => void (await client.query('rollback')),
  }
}

/** True when nobody listens there any more. */
const isClosed = async (address: string): Promise<boolean> => {
  try {
    await clientOf(address).call('GET', '/health')
    return false
  } catch {
    return true
  }
}

/** The answer that says of this part first that it is not ready; undefined while there is another one. */
const notReady = async (address: string, part: string): Promise<Answer | undefined> => {
  const answer = await clientOf(address).call('GET', '/health/ready')
  const [first] = answer.body.parts as { name: string; ok: boolean }[]
  return first?.name === part && !first.ok ? answer : undefined
}

const registration = { email: 'late@example.com', password: 'long enough', firstName: 'Late' }

/** Registers over a connection that the client would keep open, as most clients do. */
const registerSlowly = async (address: string): Promise<number> => {
  const response = await fetch(`${address}/auth/register`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(registration),
  })
  await response.text()
  return response.status
}

t.test('SIGTERM: not ready at once, the request under way is answered, then a clean end', async (t) => {
  const { dataDir } = await newInstalledDataDir(t)
  const freehold = startFreehold(t, dataDir)
  const { address } = await freehold.ready
  const brake = await brakeRegistrations(t, dataDir)
  const slow = registerSlowly(address)
  await until(brake.waiting)

  freehold.child.kill('SIGTERM')
  const stopping = {
    status: 503,
    body: { status: 'not_ready', parts: [{ name: 'process', detail: 'stopping' }] },
  }
  t.match(await until(() => notReady(address, 'process')), stopping)
  await until(() => isClosed(address))
  t.equal(freehold.child.exitCode, null, 'it waits for the request')
  await brake.release()
  t.equal(await slow, 201, 'which is answered')
  t.same(await freehold.ended, { code: 0, signal: null })
  t.same(freehold.errors(), [])
  t.same(await serversOf(dataDir), [], 'no server is left')

  const next = startFreehold(t, dataDir)
  await signIn((await next.ready).address, registration.email, registration.password)
  await next.end('SIGINT')
})

/** Asks over the agent's connection: the status, and whether the answer asks to leave. */
const askOver = (agent: Agent, address: string): Promise<{ status: number | undefined; leave: boolean }> =>
  new Promise((resolve, reject) => {
    const sent = request(`${address}/health`, { agent }, (answer) => {
      answer.resume()
      const { statusCode: status, headers } = answer
      answer.once('end', () => resolve({ status, leave: headers.connection === 'close' }))
    })
    sent.once('error', reject).end()
  })

t.test(
  'SIGTERM: who has a connection and was busy elsewhere for two seconds is still answered',
  async (t) => {
    const { dataDir } = await newInstalledDataDir(t)
    const freehold = startFreehold(t, dataDir)
    const { address } = await freehold.ready
    const [busy, idle] = [1, 2].map(() => new Agent({ keepAlive: true, maxSockets: 1 })) as [Agent, Agent]
    t.teardown(() => [busy, idle].map((agent) => agent.destroy()))
    for (const agent of [busy, idle]) t.same(await askOver(agent, address), { status: 200, leave: false })
    await until(async () => Object.keys(idle.freeSockets).length > 0)
    const [kept] = Object.values(idle.freeSockets).flat()
    const dismissed = once(kept as Socket, 'close')
    freehold.child.kill('SIGTERM')
    await until(() => isClosed(address))
    await sleep(1_500)
    t.same(await askOver(busy, address), { status: 200, leave: true })
    await dismissed
    t.same(await freehold.ended, { code: 0, signal: null })
  },
)

t.test(
  'Ctrl-C: the request under way is answered, then a clean end; a second one changes nothing',
  async (t) => {
    const { dataDir } = await newInstalledDataDir(t)
    const freehold = startFreehold(t, dataDir)
    const { address } = await freehold.ready
    const brake = await brakeRegistrations(t, dataDir)
    const slow = registerSlowly(address)
    await until(brake.waiting)

    freehold.child.kill('SIGINT')
    await until(() => isClosed(address))
    freehold.child.kill('SIGINT')
    await brake.release()
    t.equal(await slow, 201)
    t.same(await freehold.ended, { code: 0, signal: null })
    t.same(await serversOf(dataDir), [])
  },
)

t.test(
  'told to stop during the first start: nothing is left running, and the next start goes on',
  async (t) => {
    const dataDir = await newDataDir(t)
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      const freehold = startFreehold(t, dataDir, { env: { SPARE_DATABASES: '20' } })
      await until(async () => (await serversOf(dataDir)).length > 0)
      t.same(await freehold.end(signal), { code: 0, signal: null }, `${signal}: a clean end`)
      t.same(freehold.errors(), [])
      t.same(await serversOf(dataDir), [], `${signal}: no server is left`)
    }
    const next = startFreehold(t, dataDir)
    const { address, adminPassword } = await next.ready
    await signIn(address, 'admin@freehold.local', String(adminPassword))
    await next.end('SIGINT')
  },
)
