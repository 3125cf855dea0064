import { spawn } from 'node:child_process'
import { readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import {
  isRoot,
  newDataDir,
  nobody,
  query,
  refusal,
  serversOf,
  spawnFreehold,
  start,
  until,
} from './helpers.ts'

const postmaster = async (dataDir: string): Promise<number> =>
  Number((await readFile(join(dataDir, 'postgres', 'postmaster.pid'), 'utf8')).split('\n')[0])

t.test(
  'kill -9 of Freehold: the next start ends the server that lives on, and every commit is there',
  async (t) => {
    const dataDir = await newDataDir(t)
    const killed = spawnFreehold(t, { dataDir, durable: true })
    const { server } = await killed.answer
    t.ok(server)
    if (server === undefined) return
    await query(
      server.master,
      'create table kept (n int)',
      'insert into kept select generate_series(1, 1000)',
    )
    await killed.end('SIGKILL')
    t.equal(await refusal(server.master), 'connected', 'the server outlives its Freehold')
    const old = await postmaster(dataDir)

    const next = await start(t, { dataDir, durable: true })
    t.same(await query(next.master, 'select count(*)::int as n from kept'), [{ n: 1000 }])
    t.notOk((await serversOf(dataDir)).includes(old))
    await t.rejects(stat(server.master.host), { code: 'ENOENT' }, 'its socket folder is swept')
  },
)

t.test('kill -9 of Freehold and of the postmaster: busy orphans are ended first', async (t) => {
  const dataDir = await newDataDir(t)
  const killed = spawnFreehold(t, { dataDir, durable: true })
  const { server } = await killed.answer
  if (server === undefined) return t.fail('did not start')
  await query(server.master, 'create table kept (n int)', 'insert into kept values (1)')
  const busy = query(
    server.master,
    'select count(*) from generate_series(1, 100000000000) s(n) where n < 0',
  ).catch(() => 'ended')
  await until(async () => {
    const rows = await query(
      server.superuser,
      "select 1 from pg_stat_activity where state = 'active' and query like '%series%' and pid <> pg_backend_pid()",
    )
    return rows.length > 0
  })
  process.kill(await postmaster(dataDir), 'SIGKILL')
  await killed.end('SIGKILL')

  const next = await start(t, { dataDir, durable: true })
  t.equal(await busy, 'ended')
  t.same(await query(next.master, 'select n from kept'), [{ n: 1 }])
})

t.test('a postmaster.pid that is stale, empty, or names a stranger does not stop a start', async (t) => {
  const dataDir = await newDataDir(t)
  const file = join(dataDir, 'postgres', 'postmaster.pid')
  let server = await start(t, { dataDir })
  const text = await readFile(file, 'utf8')
  await server.stop()
  // PostgreSQL takes a live process of its own user for the old server.
  const stranger = spawn('sleep', ['600'], isRoot ? { uid: nobody, gid: nobody } : {})
  t.teardown(() => stranger.kill('SIGKILL'))
  const pids = { dead: 4_194_300, stranger: stranger.pid ?? 0, root: 1, us: process.pid }
  for (const [who, pid] of Object.entries(pids)) {
    await writeFile(file, text.replace(/^\d+/, String(pid)))
    server = await start(t, { dataDir })
    t.equal(await refusal(server.master), 'connected', who)
    await server.stop()
  }
  t.same([stranger.exitCode, stranger.signalCode], [null, null], 'the stranger was left alone')
  await writeFile(file, '')
  server = await start(t, { dataDir })
  t.equal(await refusal(server.master), 'connected', 'empty')
})
