import { access, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { scratchPrefix } from '../../src/embedded-postgres/left-over.ts'
import { newDataDir, query, spawnFreehold, start, until } from './helpers.ts'

const scratch = async (dataDir: string): Promise<string[]> =>
  (await readdir(dataDir).catch(() => [])).filter((name) => name.startsWith(scratchPrefix))

t.test(
  'kill -9 anywhere in the first start: the next one begins anew and leaves no trace of it',
  async (t) => {
    const dataDir = await newDataDir(t)
    let unfinished = 0
    for (let round = 0; round < 6; round++) {
      const known = await scratch(dataDir)
      const killed = spawnFreehold(t, { dataDir, durable: true })
      // From the moment it begins to build, or it is already ready because an earlier round got so far.
      await Promise.race([
        killed.answer,
        until(async () => (await scratch(dataDir)).some((name) => !known.includes(name))),
      ])
      await sleep(Math.random() * 90 * round)
      await killed.end('SIGKILL')
      if (
        !(await access(join(dataDir, 'postgres')).then(
          () => true,
          () => false,
        ))
      )
        unfinished++
    }
    t.not(unfinished, 0, 'at least the first round, which does not wait, was killed while it built')
    const credentials = await readFile(join(dataDir, 'postgres-credentials.json'), 'utf8')

    const server = await start(t, { dataDir, durable: true })
    t.same(await query(server.master, 'select current_database() as d'), [{ d: 'freehold' }])
    t.same(await query(server.provisioner, 'select 1 as ok'), [{ ok: 1 }])
    t.equal(
      await readFile(join(dataDir, 'postgres-credentials.json'), 'utf8'),
      credentials,
      'with the passwords of the first try',
    )
    t.same((await readdir(dataDir)).sort(), [
      'freehold.lock',
      'freehold.pid',
      'postgres',
      'postgres-credentials.json',
    ])
  },
)
