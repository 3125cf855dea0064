import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { findRunningEmbeddedPostgres } from '../../src/embedded-postgres/embedded-postgres.ts'
import { createSecretBox, masterKeyId } from '../../src/kernel/crypto.ts'
import { newId } from '../../src/kernel/ids.ts'
import { sealedFor } from '../../src/master/secrets.ts'
import { query } from '../embedded-postgres/helpers.ts'
import { connectTo } from '../helpers/postgres.ts'
import { until } from '../helpers/until.ts'
import { clientOf, signIn } from '../start-up/client.ts'
import { newInstalledDataDir } from '../start-up/installed.ts'
import { startFreehold } from '../start-up/process.ts'
import { freeholdOn, launcher, start } from './helpers.ts'

/** Beside a Freehold that runs, which serves all the time and is never restarted until the very end. */

const { dataDir, adminPassword } = await newInstalledDataDir(t)
const freehold = freeholdOn(dataDir)
const service = startFreehold(t, dataDir)
const { address } = await service.ready
const admin = { email: 'admin@freehold.local', password: adminPassword }
const { body: session } = await clientOf(address).call('POST', '/auth/login', admin)
let refreshToken = String(session.refreshToken)
const refreshWorks = async (at = address): Promise<boolean> => {
  const { status, body } = await clientOf(at).call('POST', '/auth/refresh', { refreshToken })
  refreshToken = String(body.refreshToken)
  return status === 200
}

const running = await findRunningEmbeddedPostgres({ dataDir })
if (running === undefined) throw new Error('the server does not run')
const { master } = running
const fileOf = (name: string): string => join(dataDir, name)
const keyIn = async (name: string): Promise<Buffer> =>
  Buffer.from((await readFile(fileOf(name), 'utf8')).trim(), 'base64')
const idIn = async (name: string): Promise<string> => masterKeyId(await keyIn(name))
const sessionsUnder = async (keyId: string): Promise<number> => {
  const [row] = (await query(
    master,
    `select count(*)::int as n from sessions where substring(secret from 2 for 4) = '\\x${keyId}'`,
  )) as { n: number }[]
  return Number(row?.n)
}
const faults = async (): Promise<unknown[]> =>
  JSON.parse((await freehold('doctor', '--json')).stdout).findings.filter(
    ({ kind }: { kind: string }) => kind === 'master_key',
  )

/** More sessions than one batch has. */
const manySessions = 1_200

t.test('killed with SIGKILL in the middle nothing is lost, and the next run finishes', async (t) => {
  const old = await keyIn('master.key')
  const box = createSecretBox(old)
  const [person] = (await query(master, 'select id from people')) as { id: string }[]
  const client = await connectTo(t, master)
  const ids = Array.from({ length: manySessions }, () => newId())
  await client.query(
    `insert into sessions (id, person_id, secret, expires_at)
     select id, $1, secret, now() + interval '1 day' from unnest($2::uuid[], $3::bytea[]) as s(id, secret)`,
    [person?.id, ids, ids.map((id) => box.seal('a secret', sealedFor.session(id)))],
  )
  // With one row in use the command can't come to its end.
  await client.query('begin')
  await client.query('update sessions set last_used_at = now() where id = $1', [ids[700]])
  const { child, outcome } = start(launcher, ['keys', 'rotate', '--master-key'], { DATA_DIR: dataDir })
  await until(async () => (await sessionsUnder(box.keyId)) === 1)
  t.match(await freehold('keys', 'rotate', '--master-key'), {
    code: 1,
    stderr: /another rotation of the master key is under way/,
  })
  child.kill('SIGKILL')
  t.match(await outcome, { code: null })
  await client.query('commit')

  t.equal(await idIn('master.key'), box.keyId, 'the old key is where it was')
  const next = await idIn('master.key.next')
  t.match(await faults(), [
    { severity: 'notice', message: /still sealed under the previous key: sessions 1; .*--master-key/ },
  ])
  t.ok(await refreshWorks())
  const { code, stdout, stderr } = await freehold('keys', 'rotate', '--master-key')
  t.equal(code, 0, stderr)
  t.match(stdout, new RegExp(`^\\d+ values? sealed again; all is under the key ${next}\\.\\n.*keep a copy`))
  t.match(stderr, /^freehold: sealing sessions again: 0 of 1$/m)
  t.equal(await sessionsUnder(box.keyId), 0)
  t.equal(await idIn('master.key'), next)
  t.equal((await stat(fileOf('master.key'))).mode & 0o777, 0o600)
  await t.rejects(stat(fileOf('master.key.next')), { code: 'ENOENT' })
  const fresh = createSecretBox(await keyIn('master.key'))
  const rows = (await query(
    master,
    `select id, secret from sessions where id in ('${ids.join("','")}')`,
  )) as { id: string; secret: Buffer }[]
  t.equal(rows.length, manySessions)
  for (const row of rows) {
    const plain = fresh.open(row.secret, sealedFor.session(row.id)).toString()
    if (plain !== 'a secret') throw new Error(`session ${row.id} holds something else`)
  }
  t.ok(await refreshWorks())
})

t.test('with MASTER_KEY: both keys, the command, and then the new one alone', async (t) => {
  const old = (await keyIn('master.key')).toString('base64')
  const fresh = Buffer.alloc(32, 3).toString('base64')
  const alone = await freeholdOn(dataDir, { MASTER_KEY: old })('keys', 'rotate', '--master-key')
  t.match(alone, { code: 1, stderr: /no new key to rotate to; .*MASTER_KEY_PREVIOUS/ })
  const unknown = await freeholdOn(dataDir, { MASTER_KEY: fresh })('keys', 'rotate', '--master-key')
  t.match(unknown, { code: 1, stderr: /MASTER_KEY is not the key/ })

  await service.end('SIGINT')
  const both = { MASTER_KEY: fresh, MASTER_KEY_PREVIOUS: old }
  const withBoth = freeholdOn(dataDir, both)
  const started = startFreehold(t, dataDir, { env: both })
  const at = (await started.ready).address
  t.match(await withBoth('keys', 'rotate', '--master-key'), {
    code: 0,
    stdout: /MASTER_KEY_PREVIOUS may go/,
  })
  t.match((await withBoth('doctor')).stdout, /^✓ master key +.*nothing needs MASTER_KEY_PREVIOUS any more/m)
  t.ok(await refreshWorks(at))
  await started.end('SIGINT')

  const last = startFreehold(t, dataDir, { env: { MASTER_KEY: fresh } })
  const { address: there } = await last.ready
  t.ok(await refreshWorks(there))
  await signIn(there, admin.email, admin.password)
  await last.end('SIGINT')
})
