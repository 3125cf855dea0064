import { fork } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, realpath, rm } from 'node:fs/promises'
import { Agent, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildApp } from '../src/app.ts'
import { startEmbeddedPostgres } from '../src/embedded-postgres/embedded-postgres.ts'
import { loadConfig } from '../src/kernel/config.ts'
import { createLogger } from '../src/kernel/log.ts'
import { type Grounds, openService } from '../src/service.ts'
import { countsGiven } from './lib/command-line.ts'

/**
 * Presents one refresh token 64 times at once to two nodes, in processes of their own, and goes on with what came back:
 * `node bench/refresh-race.ts [rounds, 500]`. Ends with 1 when a round gave anything but one successor for all.
 */
const atOnce = 64
const issuer = 'http://localhost:4000'

type Addresses = Pick<Grounds, 'master' | 'provisioner'>
type Tokens = { accessToken: string; refreshToken: string }
type Answer = { status: number; body: Tokens }

/** One node, until its parent ends it. */
const serve = async (addresses: Addresses): Promise<void> => {
  const grounds = { ...addresses, masterKey: async () => Buffer.alloc(32, 7) }
  const service = await openService(
    loadConfig({ PUBLIC_URL: issuer, RATE_LIMITS: 'off' }),
    grounds,
    createLogger('silent'),
  )
  const { app } = await buildApp(service, async () => [])
  await app.listen({ host: '127.0.0.1', port: 0 })
  const address = app.server.address()
  process.send?.(typeof address === 'object' && address !== null ? address.port : 0)
  process.once('disconnect', () => process.exit(0))
}

const startNode = async (addresses: Addresses) => {
  const child = fork(fileURLToPath(import.meta.url), ['node'])
  child.send(addresses)
  const [port] = (await once(child, 'message')) as [number]
  const agent = new Agent({ keepAlive: true, maxSockets: atOnce })
  const post = (path: string, body: unknown): Promise<Answer> =>
    new Promise((resolve, reject) => {
      const sent = request({
        agent,
        port,
        path,
        method: 'POST',
        headers: { 'content-type': 'application/json' },
      })
      sent.on('error', reject)
      sent.on('response', async (response) => {
        const chunks: Buffer[] = []
        for await (const chunk of response) chunks.push(chunk as Buffer)
        resolve({ status: response.statusCode ?? 0, body: JSON.parse(Buffer.concat(chunks).toString()) })
      })
      sent.end(JSON.stringify(body))
    })
  const stop = async (): Promise<void> => {
    agent.destroy()
    const gone = once(child, 'exit')
    child.disconnect()
    await gone
  }
  return { post, stop }
}

const median = (numbers: number[]): number => numbers.toSorted((a, b) => a - b)[numbers.length >> 1] ?? 0

const race = async (rounds: number, addresses: Addresses): Promise<boolean> => {
  const nodes = [await startNode(addresses), await startNode(addresses)]
  try {
    const person = { email: 'race@example.com', password: 'correct horse battery', firstName: 'Race' }
    const registered = await nodes[0]?.post('/auth/register', person)
    let token = registered?.body.refreshToken
    const milliseconds: number[] = []
    for (let round = 1; round <= rounds; round += 1) {
      const began = performance.now()
      const answers = await Promise.all(
        Array.from({ length: atOnce }, (_, n) =>
          nodes[n % 2]?.post('/auth/refresh', { refreshToken: token }),
        ),
      )
      milliseconds.push(performance.now() - began)
      const successors = new Set(answers.map((answer) => answer?.body.refreshToken))
      const refused = answers.filter((answer) => answer?.status !== 200).length
      if (successors.size !== 1 || refused > 0) {
        console.log(`round ${round}: ${successors.size} successors, ${refused} refused`)
        return false
      }
      token = [...successors][0]
    }
    console.log(`${rounds} rounds of ${atOnce} on two nodes: one successor each, none refused`)
    console.log(`a round took ${median(milliseconds).toFixed(1)} ms in the median`)
    return true
  } finally {
    await Promise.all(nodes.map((node) => node.stop()))
  }
}

const main = async (rounds: number): Promise<void> => {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'bench-freehold-')))
  await chmod(folder, 0o711)
  const server = await startEmbeddedPostgres({ dataDir: join(folder, 'data'), durable: false })
  try {
    process.exitCode = (await race(rounds, server)) ? 0 : 1
  } finally {
    await server.stop()
    await rm(folder, { recursive: true, force: true, maxRetries: 5 })
  }
}

if (process.argv[2] === 'node') process.once('message', (addresses: Addresses) => void serve(addresses))
else await main(countsGiven({ rounds: 500 }).rounds)
