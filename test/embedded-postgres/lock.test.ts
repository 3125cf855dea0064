import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import t from 'tap'
import {
  findRunningEmbeddedPostgres,
  startEmbeddedPostgres,
} from '../../src/embedded-postgres/embedded-postgres.ts'
import { takeFolderLock } from '../../src/embedded-postgres/folder-lock.ts'
import { newDataDir, query, refusal, snapshot, spawnFreehold, start } from './helpers.ts'

const already = (dataDir: string, pid: number | undefined): string =>
  `Freehold already runs on ${dataDir} (process ${pid}); stop it, or set DATA_DIR to another folder`

t.test('a second start says who runs there, touches nothing, and the first goes on', async (t) => {
  const dataDir = await newDataDir(t)
  const first = await start(t, { dataDir })
  const other = spawnFreehold(t, { dataDir })
  const before = await readFile(join(dataDir, 'postgres', 'postmaster.pid'), 'utf8')
  t.same((await other.answer).lines, [already(dataDir, process.pid)])
  await t.rejects(startEmbeddedPostgres({ dataDir }), {
    name: 'OperatorError',
    message: already(dataDir, process.pid),
  })
  t.equal(await readFile(join(dataDir, 'postgres', 'postmaster.pid'), 'utf8'), before)
  t.equal(await refusal(first.master), 'connected')
  t.equal(await refusal(first.master), 'connected')
})

t.test('of several starts at once, on a new folder and on an old one, exactly one wins', async (t) => {
  const dataDir = await newDataDir(t)
  for (const round of ['new', 'old']) {
    const all = Array.from({ length: 4 }, () => spawnFreehold(t, { dataDir }))
    const answers = await Promise.all(all.map((one) => one.answer))
    const winner = answers.findIndex((answer) => answer.server !== undefined)
    t.not(winner, -1, `${round}: one wins`)
    for (const [i, answer] of answers.entries()) {
      if (i !== winner)
        t.same(answer.lines, [already(dataDir, all[winner]?.child.pid)], `${round}: the others say so`)
    }
    const master = answers[winner]?.server?.master
    t.ok(master !== undefined && (await refusal(master)) === 'connected')
    await Promise.all(all.map((one) => one.end('SIGTERM')))
  }
})

t.test('a lock goes with its process, and a number in a file is no lock', async (t) => {
  const dataDir = await newDataDir(t)
  const killed = spawnFreehold(t, { dataDir })
  t.ok((await killed.answer).server)
  await killed.end('SIGKILL')
  t.equal(
    await findRunningEmbeddedPostgres({ dataDir }),
    undefined,
    'a server without its Freehold is not running',
  )
  // The killed process's number now belongs to one that lives.
  await writeFile(join(dataDir, 'freehold.pid'), `${process.ppid}\n`)
  const next = await start(t, { dataDir })
  t.equal(await refusal(next.master), 'connected')
})

t.test('a failed start lets the folder go', async (t) => {
  const dataDir = await newDataDir(t)
  await mkdir(join(dataDir, 'postgres'), { recursive: true })
  await t.rejects(startEmbeddedPostgres({ dataDir }), { name: 'OperatorError' })
  const lock = await takeFolderLock(dataDir)
  await lock.release()
  await lock.release()
})

t.test('the command line finds the server of another process, and changes nothing by looking', async (t) => {
  const dataDir = await newDataDir(t)
  t.equal(await findRunningEmbeddedPostgres({ dataDir }), undefined, 'no folder')
  await mkdir(dataDir)
  t.equal(await findRunningEmbeddedPostgres({ dataDir }), undefined, 'never started')
  t.same(await snapshot(dataDir), [])

  const freehold = spawnFreehold(t, { dataDir })
  const { server } = await freehold.answer
  const found = await findRunningEmbeddedPostgres({ dataDir })
  t.ok(found)
  if (found === undefined) return
  t.same({ ...found, firstStart: true }, server)
  t.same(await query(found.master, 'select current_user as user'), [{ user: 'freehold_master' }])

  await freehold.end('SIGTERM')
  t.equal(await findRunningEmbeddedPostgres({ dataDir }), undefined, 'stopped')
})

t.test('someone who looks while a start takes the lock does not make it fail', async (t) => {
  const dataDir = await newDataDir(t)
  await mkdir(dataDir)
  await (await takeFolderLock(dataDir)).release()
  const looking = new DatabaseSync(join(dataDir, 'freehold.lock'), { readOnly: true })
  looking.exec('begin; select 1 from sqlite_schema')
  setTimeout(() => looking.close(), 50)
  const lock = await takeFolderLock(dataDir)
  await lock.release()
})
