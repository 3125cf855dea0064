import { chmod, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import t, { type Test } from 'tap'
import {
  findRunningEmbeddedPostgres,
  startEmbeddedPostgres,
} from '../../src/embedded-postgres/embedded-postgres.ts'
import { isRoot, newDataDir, nobody, query, refusal, snapshot, spawnFreehold, start } from './helpers.ts'

/** Expects one line for the operator, and that not one byte below `postgres` changed. */
const refuses = async (t: Test, dataDir: string, message: RegExp): Promise<void> => {
  const before = await snapshot(join(dataDir, 'postgres'))
  const error = await startEmbeddedPostgres({ dataDir }).then(
    (server) => server.stop().then(() => undefined),
    (thrown) => thrown,
  )
  t.equal(error?.name, 'OperatorError')
  t.match(error?.message, message)
  t.equal(error?.lines.length, 1)
  t.same(await snapshot(join(dataDir, 'postgres')), before)
}

t.test('a folder that is half-written or not ours is left as it is, with a line on what to do', async (t) => {
  const dataDir = await newDataDir(t)
  const data = join(dataDir, 'postgres')
  await mkdir(data, { recursive: true })
  await refuses(
    t,
    dataDir,
    /not a complete .*PG_VERSION is missing.*restore it from a backup, or move it away/,
  )
  await mkdir(join(data, 'base'))
  await writeFile(join(data, 'base', '1'), 'half a table')
  await refuses(t, dataDir, /PG_VERSION is missing/)
  await writeFile(join(data, 'PG_VERSION'), '18\n')
  await refuses(t, dataDir, /global\/pg_control is missing/)
  await mkdir(join(data, 'global'))
  await writeFile(join(data, 'global', 'pg_control'), '')
  await writeFile(join(data, 'PG_VERSION'), '17\n')
  await refuses(
    t,
    dataDir,
    /was made by PostgreSQL 17, and this Freehold brings PostgreSQL 18; use the Freehold that made it/,
  )
})

t.test(
  'a server whose passwords are lost or damaged is left as it is, and their text is not shown',
  async (t) => {
    const dataDir = await newDataDir(t)
    const file = join(dataDir, 'postgres-credentials.json')
    const server = await start(t, { dataDir })
    await query(server.master, 'create table kept ()')
    await server.stop()
    const text = await readFile(file, 'utf8')

    await rename(file, `${file}.away`)
    await refuses(t, dataDir, /postgres-credentials\.json is missing.*restore it from a backup/)
    for (const damaged of [
      text.slice(0, 60),
      '',
      '[]',
      'null',
      '{"postgres":"short"}',
      text.replace('freehold_master', 'x'),
    ]) {
      await writeFile(file, damaged)
      await refuses(t, dataDir, /postgres-credentials\.json is damaged; restore it/)
      t.notMatch(
        await startEmbeddedPostgres({ dataDir }).catch(String),
        server.superuser.password.slice(0, 8),
      )
    }
    await rm(file)
    await rename(`${file}.away`, file)
    const again = await start(t, { dataDir })
    t.equal(await refusal(again.master), 'connected')
  },
)

t.test('a data folder of another user: one line names the owner', async (t) => {
  if (isRoot) {
    const dataDir = await newDataDir(t)
    await (await start(t, { dataDir })).stop()
    const before = await snapshot(dataDir)
    const line = `The data folder ${dataDir} belongs to user root; start Freehold as that user, or set DATA_DIR to another folder`
    t.same((await spawnFreehold(t, { dataDir, uid: nobody }).answer).lines, [line])
    t.same(await snapshot(dataDir), before)
    const inside = await spawnFreehold(t, { dataDir: join(dataDir, 'x', 'y'), uid: nobody }).answer
    t.match(inside.lines, [/belongs to user root; start Freehold as that user/])

    const nameless = await newDataDir(t)
    await chmod(dirname(nameless), 0o777)
    const answer = await spawnFreehold(t, { dataDir: nameless, uid: 3_999_999 }).answer
    t.match(answer.lines, [/PostgreSQL needs a name for user 3999999/])
    return
  }
  // Without root's rights: a folder that belongs to root on every system.
  const line =
    'The data folder / belongs to user root; start Freehold as that user, or set DATA_DIR to another folder'
  await t.rejects(startEmbeddedPostgres({ dataDir: '/' }), { name: 'OperatorError', message: line })
  await t.rejects(findRunningEmbeddedPostgres({ dataDir: '/' }), { name: 'OperatorError', message: line })
})

t.test('a file where the folder should be', async (t) => {
  const dataDir = await newDataDir(t)
  await mkdir(dirname(dataDir), { recursive: true })
  await writeFile(dataDir, '')
  for (const path of [dataDir, join(dataDir, 'below')]) {
    await t.rejects(startEmbeddedPostgres({ dataDir: path }), {
      name: 'OperatorError',
      message: `${path} is not a folder; set DATA_DIR to one`,
    })
  }
})
