import { access, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { newDataDir, serversOf, snapshot } from '../embedded-postgres/helpers.ts'
import { askUntilReady, clientOf } from './client.ts'
import { newInstalledDataDir } from './installed.ts'
import { newWorkingFolder, startFreehold } from './process.ts'

t.test(
  'wrong configuration: a line for each mistake, exit 2, nothing made, no secret repeated',
  async (t) => {
    const dataDir = await newDataDir(t)
    const cwd = await newWorkingFolder(t)
    const secret = 'c4n4ry'
    const freehold = startFreehold(t, dataDir, {
      cwd,
      env: {
        PORT: '4000x',
        ROLE: 'everything',
        LOG_LEVEL: 'loud',
        JWT_EXPIRATION: '5',
        MASTER_DATABASE_URL: `mysql://user:${secret}@db.example.com/freehold`,
        MASTER_KEY: `${secret}-is-no-key`,
        ADMIN_PASSWORD: secret,
        ADMIN_EMAIL: 'nobody',
        METRICS_TOKEN: `${secret}-short`,
      },
    })
    t.same(await freehold.ended, { code: 2, signal: null })
    const errors = freehold.errors()
    t.same(errors.map((line) => /^freehold: ([A-Z_]+) (must|has|is) /.exec(line)?.[1]).sort(), [
      'ADMIN_EMAIL',
      'ADMIN_PASSWORD',
      'JWT_EXPIRATION',
      'LOG_LEVEL',
      'MASTER_DATABASE_URL',
      'MASTER_KEY',
      'METRICS_TOKEN',
      'PORT',
      'ROLE',
    ])
    t.equal(freehold.out(), '')
    t.notMatch(errors.join('\n'), secret)
    t.same(await snapshot(cwd), [], 'nothing was made where it ran')
    await t.rejects(access(dataDir), { code: 'ENOENT' }, 'nor where its data would be')
  },
)

t.test('a file where the data folder should be is refused in one line', async (t) => {
  const freehold = startFreehold(t, '/etc/hostname')
  t.same(await freehold.ended, { code: 1, signal: null })
  t.same(freehold.errors(), ['freehold: /etc/hostname is not a folder; set DATA_DIR to one'])
})

t.test('another MASTER_KEY than the one before is refused in one line, and nothing is changed', async (t) => {
  const { dataDir, adminPassword } = await newInstalledDataDir(t)
  const wrong = startFreehold(t, dataDir, { env: { MASTER_KEY: Buffer.alloc(32, 1).toString('base64') } })
  t.same(await wrong.ended, { code: 1, signal: null })
  t.same(wrong.errors(), [
    'freehold: MASTER_KEY is not the key this master database was made with; set the key that was used before',
  ])
  t.same(await serversOf(dataDir), [])

  const next = startFreehold(t, dataDir)
  const { address } = await next.ready
  const login = { email: 'admin@freehold.local', password: adminPassword }
  t.match(await clientOf(address).call('POST', '/auth/login', login), { status: 200 })
  await next.end('SIGINT')
})

t.test('a master key that is lost is asked for in one line, and no other one is made', async (t) => {
  const { dataDir } = await newInstalledDataDir(t)
  const keyFile = join(dataDir, 'master.key')
  const key = await readFile(keyFile, 'utf8')
  await rm(keyFile)

  const without = startFreehold(t, dataDir)
  t.same(await without.ended, { code: 1, signal: null })
  t.match(without.errors(), [
    /^freehold: the master key is not in .*; restore master\.key from a backup, or set MASTER_KEY$/,
  ])
  t.equal(without.errors().length, 1)
  await t.rejects(access(keyFile), { code: 'ENOENT' })
  t.same(await serversOf(dataDir), [])

  const given = startFreehold(t, dataDir, { env: { MASTER_KEY: key.trim() } })
  t.match(await askUntilReady((await given.ready).address), { status: 200 })
  await given.end('SIGINT')
})
