import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { newDataDir, query, refusal, serversOf, spawnFreehold, start, until } from './helpers.ts'

const postmaster = async (dataDir: string): Promise<number> =>
  Number((await readFile(join(dataDir, 'postgres', 'postmaster.pid'), 'utf8')).split('\n')[0])

t.test('a server that dies says so once, and the folder can be used again', async (t) => {
  const dataDir = await newDataDir(t)
  const reasons: string[] = []
  const server = await start(t, { dataDir, onExit: (reason) => reasons.push(reason) })
  process.kill(await postmaster(dataDir), 'SIGKILL')
  await until(async () => reasons.length > 0)
  t.same(reasons, ['PostgreSQL ended by SIGKILL'])
  await server.stop()
  const next = await start(t, { dataDir, onExit: (reason) => reasons.push(reason) })
  t.equal(await refusal(next.master), 'connected')
  await next.stop()
  t.equal(reasons.length, 1, 'a stop that was asked for is no news')
})

t.test('a server that cannot start says why', async (t) => {
  const dataDir = await newDataDir(t)
  const server = await start(t, { dataDir })
  await query(server.superuser, "alter system set shared_preload_libraries = 'no_such_library'")
  await server.stop()
  await t.rejects(start(t, { dataDir }), {
    name: 'OperatorError',
    message: /^PostgreSQL does not start in .*: could not access file "no_such_library"/,
  })
  t.same(await serversOf(dataDir), [])
})

t.test('Ctrl-C in the terminal reaches Freehold, not the server', async (t) => {
  const dataDir = await newDataDir(t)
  const freehold = spawnFreehold(t, { dataDir })
  const { server } = await freehold.answer
  if (server === undefined || freehold.child.pid === undefined) return t.fail('did not start')
  const before = await postmaster(dataDir)
  process.kill(-freehold.child.pid, 'SIGINT')
  t.equal(await refusal(server.master), 'connected')
  await freehold.end('SIGTERM')
  t.equal(freehold.child.exitCode, 0)
  const log = await readFile(
    join(dataDir, 'postgres', 'log', (await readdir(join(dataDir, 'postgres', 'log')))[0] ?? ''),
    'utf8',
  )
  t.equal(log.match(/received fast shutdown request/g)?.length, 1, `server ${before} was asked to stop once`)
  t.notMatch(log, /\[\d+\] (WARNING|ERROR|FATAL|PANIC)/)
})
