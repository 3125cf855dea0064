import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { newDataDir, serversOf } from '../embedded-postgres/helpers.ts'
import { clientOf } from './client.ts'
import { startFreehold } from './process.ts'

const readProcess = (pid: number | string, file: string): Promise<string> =>
  readFile(`/proc/${pid}/${file}`, 'utf8').catch(() => '')

/** The command lines of every process on the machine, as `ps` shows them to everybody. */
const commandLines = async (): Promise<string[]> => {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
  return Promise.all(pids.map((pid) => readProcess(pid, 'cmdline')))
}

/** Collects command lines until told to stop. */
const watchCommandLines = (t: Test): (() => Promise<string>) => {
  const seen = new Set<string>()
  let watching = true
  const watcher = (async () => {
    for (; watching; await sleep(20)) for (const line of await commandLines()) seen.add(line)
  })()
  const stop = async (): Promise<string> => {
    watching = false
    await watcher
    return [...seen].join('\n')
  }
  t.teardown(stop)
  return stop
}

const settings = {
  ADMIN_PASSWORD: 'canary-admin-password',
  METRICS_TOKEN: 'canary-metrics-token',
  MASTER_KEY: Buffer.alloc(32, 'canary').toString('base64'),
}

const passwords = { right: 'canary-right-password', wrong: 'canary-wrong-password' }

/** Everything a person does on a day, good and bad; answers the tokens that went over the wire. */
const liveThroughADay = async (address: string): Promise<string[]> => {
  const tokens: string[] = []
  const call = async (method: string, path: string, body?: unknown, token?: string) => {
    const answer = await clientOf(address, token).call(method, path, body)
    for (const name of ['accessToken', 'refreshToken']) {
      if (typeof answer.body[name] === 'string') tokens.push(answer.body[name])
    }
    return { status: answer.status, token: String(answer.body.accessToken), next: answer.body.refreshToken }
  }
  const who = { email: 'ann@example.com', password: passwords.right }
  await call('POST', '/auth/register', { ...who, firstName: 'Ann' })
  await call('POST', '/auth/register', { ...who, firstName: 'Ann' })
  await call('POST', '/auth/register', { ...who, firstName: 7, newPassword: passwords.wrong })
  await call('POST', '/auth/login', { ...who, password: passwords.wrong })
  const { token, next } = await call('POST', '/auth/login', who)
  await call('POST', '/tenants', { name: 'Acme', slug: 'acme' }, token)
  const inside = await call('POST', '/auth/switch', { tenant: 'acme' }, token)
  await call('POST', '/api/projects', { name: 'First' }, inside.token)
  await call('POST', '/api/projects', { name: 'a\u0000b' }, inside.token)
  await call('POST', '/auth/refresh', { refreshToken: next })
  await call('POST', '/auth/refresh', { refreshToken: `${next}x` })
  await call('GET', `/nowhere?token=${token}`, undefined, token)
  await call('GET', '/metrics', undefined, settings.METRICS_TOKEN)
  await call('GET', '/auth/context', undefined, `${token}x`)
  await call('POST', '/auth/logout', undefined, inside.token)
  await call('POST', '/auth/login', { email: 'admin@freehold.local', password: settings.ADMIN_PASSWORD })
  return tokens
}

t.test('no secret is in the log of a whole session, nor in any command line', async (t) => {
  const dataDir = await newDataDir(t)
  const stopWatching = watchCommandLines(t)
  const freehold = startFreehold(t, dataDir, { env: { ...settings, LOG_LEVEL: 'trace' } })
  const { address } = await freehold.ready
  const tokens = await liveThroughADay(address)
  t.ok(tokens.length >= 8, 'tokens were handed out')
  const lines = await stopWatching()
  const environments = await Promise.all((await serversOf(dataDir)).map((pid) => readProcess(pid, 'environ')))
  await freehold.end('SIGTERM')

  const credentials = JSON.parse(await readFile(join(dataDir, 'postgres-credentials.json'), 'utf8'))
  const secrets = [...Object.values(settings), ...Object.values(passwords), ...Object.values(credentials)]
  const log = freehold.out() + freehold.errors().join('\n')
  const logFolder = join(dataDir, 'postgres', 'log')
  const serverLogs = await Promise.all(
    (await readdir(logFolder)).map((name) => readFile(join(logFolder, name), 'utf8')),
  )
  t.match(log, /"route":"\/auth\/login","status":401/, 'the session was logged')
  t.match(lines, 'main.ts', 'the command lines were seen')
  t.notMatch(log, /bearer [\w-]/i)
  for (const secret of [...secrets, ...tokens].map(String)) {
    t.notOk(log.includes(secret), 'not in the log')
    t.notOk(serverLogs.join('\n').includes(secret), "not in the database server's log")
    t.notOk(lines.includes(secret), 'not in a command line')
    t.notOk(environments.join('\n').includes(secret), "not in the database server's environment")
  }
})
