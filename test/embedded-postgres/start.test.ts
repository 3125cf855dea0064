import { readdir, readFile, readlink, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import t from 'tap'
import { programsVersion } from '../../src/embedded-postgres/programs.ts'
import { isRoot, newDataDir, query, serversOf, start } from './helpers.ts'

t.test('a first start gives three addresses that work, a second start keeps the data', async (t) => {
  const dataDir = await newDataDir(t)
  const first = await start(t, { dataDir, durable: true })
  t.equal(first.firstStart, true)
  t.equal(first.version, await programsVersion())
  t.match(first.version, /^18\.\d+$/)
  const who = 'select current_user as user, current_database() as database'
  t.same(await query(first.master, who), [{ user: 'freehold_master', database: 'freehold' }])
  t.same(await query(first.provisioner, who), [{ user: 'freehold_provisioner', database: 'postgres' }])
  t.same(await query(first.superuser, who), [{ user: 'postgres', database: 'postgres' }])
  await query(first.master, 'create table kept (n int)', 'insert into kept values (7)')
  await first.stop()

  const second = await start(t, { dataDir, durable: true })
  t.equal(second.firstStart, false)
  t.same(await query(second.master, 'select n from kept'), [{ n: 7 }])
  t.same(second.master.password, first.master.password)
})

t.test('stop is safe twice, ends open sessions, and leaves neither processes nor a socket', async (t) => {
  const dataDir = await newDataDir(t)
  const server = await start(t, { dataDir })
  const sleeping = query(server.master, 'select pg_sleep(600)').then(
    () => 'slept on',
    () => 'was ended',
  )
  await query(server.master, 'select 1')
  await Promise.all([server.stop(), server.stop()])
  await server.stop()
  t.equal(await sleeping, 'was ended')
  t.same(await serversOf(dataDir), [])
  await t.rejects(stat(server.master.host), { code: 'ENOENT' })
  t.same((await readdir(dataDir)).sort(), ['freehold.lock', 'postgres', 'postgres-credentials.json'])
})

t.test('a running server', async (t) => {
  const dataDir = await newDataDir(t)
  const { MASTER_KEY: before } = process.env
  process.env.MASTER_KEY = 'a secret of the environment'
  t.teardown(() => {
    if (before === undefined) delete process.env.MASTER_KEY
    else process.env.MASTER_KEY = before
  })
  const server = await start(t, { dataDir, durable: true })

  t.test('is set up for hundreds of connections, durable, with checksums', async (t) => {
    const names = `select name, setting from pg_settings where name = any(array['max_connections','fsync','full_page_writes',
      'synchronous_commit','data_checksums','wal_level','superuser_reserved_connections','max_wal_senders',
      'max_replication_slots','password_encryption','TimeZone','log_statement','log_min_error_statement'])`
    const rows = await query(server.superuser, `select json_object_agg(name, setting) as s from (${names})`)
    t.match(rows[0], {
      s: {
        max_connections: '500',
        superuser_reserved_connections: '5',
        fsync: 'on',
        full_page_writes: 'on',
        synchronous_commit: 'on',
        data_checksums: 'on',
        wal_level: 'logical',
        max_wal_senders: '10',
        max_replication_slots: '20',
        password_encryption: 'scram-sha-256',
        TimeZone: 'UTC',
        log_statement: 'none',
        log_min_error_statement: 'panic',
      },
    })
    const method = await query(server.superuser, 'show recovery_init_sync_method')
    t.same(method, [{ recovery_init_sync_method: process.platform === 'linux' ? 'syncfs' : 'fsync' }])
    t.same(
      await query(
        server.superuser,
        'select count(*)::int as n from pg_file_settings where error is not null',
      ),
      [{ n: 0 }],
    )
    const locale = `select distinct datlocprovider, datlocale from pg_database`
    t.same(await query(server.superuser, locale), [{ datlocprovider: 'b', datlocale: 'C.UTF-8' }])
  })

  t.test('keeps its passwords where only its owner reads them, and its socket too', async (t) => {
    t.equal((await stat(join(dataDir, 'postgres-credentials.json'))).mode & 0o777, 0o600)
    t.equal((await stat(server.master.host)).mode & 0o777, 0o700)
    t.equal((await stat(join(server.master.host, '.s.PGSQL.5432'))).mode & 0o777, 0o700)
    t.equal((await stat(join(dataDir, 'freehold.lock'))).mode & 0o777, 0o600)
  })

  t.test('listens on no port', async (t) => {
    t.same(await query(server.superuser, 'show listen_addresses'), [{ listen_addresses: '' }])
    if (process.platform !== 'linux') return
    const tables = await Promise.all(
      ['tcp', 'tcp6'].map((name) => readFile(`/proc/net/${name}`, 'utf8').catch(() => '')),
    )
    const tcp = new Set(tables.flatMap((text) => text.split('\n').map((line) => line.trim().split(/\s+/)[9])))
    for (const pid of await serversOf(dataDir)) {
      for (const fd of await readdir(`/proc/${pid}/fd`)) {
        const inode = /^socket:\[(\d+)\]$/.exec(await readlink(`/proc/${pid}/fd/${fd}`).catch(() => ''))?.[1]
        t.notOk(inode !== undefined && tcp.has(inode), `process ${pid} has no TCP socket`)
      }
    }
  })

  t.test('knows nothing of our environment', async (t) => {
    const rows = await query(
      server.superuser,
      'create temp table environment (line text)',
      "copy environment from program 'env' (format csv, delimiter e'\\x01', quote e'\\x02')",
      "select string_agg(line, ' ') as text from environment",
    )
    t.notMatch(JSON.stringify(rows), /MASTER_KEY|a secret of/)
    t.match(JSON.stringify(rows), /TZ=UTC/)
  })

  t.test('writes no statement and no detail into its log', async (t) => {
    await t.rejects(query(server.master, "create role x password 'hush-hush' superuser"))
    await t.rejects(
      query(
        server.master,
        'create table once (v text unique)',
        "insert into once values ('whisper'), ('whisper')",
      ),
    )
    const log = join(dataDir, 'postgres', 'log')
    const text = (
      await Promise.all((await readdir(log)).map((name) => readFile(join(log, name), 'utf8')))
    ).join('')
    t.match(text, /ERROR: +permission denied to create role/)
    t.notMatch(text, /hush-hush|whisper|insert into/)
  })

  t.test('does not run as root', async (t) => {
    t.not((await serversOf(dataDir)).length, 0)
    if (process.platform !== 'linux') return
    for (const pid of await serversOf(dataDir)) {
      const status = await readFile(`/proc/${pid}/status`, 'utf8')
      t.match(
        status,
        isRoot ? /^Uid:\t(?!0\t)(\d+)\t\1\t\1\t\1$/m : new RegExp(`^Uid:\\t${process.getuid?.()}\\t`, 'm'),
      )
      t.match(status, isRoot ? /^Gid:\t(?!0\t)/m : /^Gid:/m)
      if (isRoot) t.match(status, /^Groups:\t *$/m, 'and not in a group of root')
    }
  })
})

t.test('options of an operator survive, but cannot open the server', async (t) => {
  const dataDir = await newDataDir(t)
  const first = await start(t, { dataDir })
  await query(first.superuser, "alter system set listen_addresses = '*'")
  await query(first.superuser, "alter system set work_mem = '5MB'")
  await first.stop()
  const second = await start(t, { dataDir, maxConnections: 33 })
  t.same(await query(second.superuser, 'show listen_addresses'), [{ listen_addresses: '' }])
  t.same(await query(second.superuser, 'show work_mem'), [{ work_mem: '5MB' }])
  t.same(await query(second.superuser, 'show max_connections'), [{ max_connections: '33' }])
})

t.test(
  'a cleaner of temporary files takes the socket folder, and the next start does not mind',
  async (t) => {
    const { rm } = await import('node:fs/promises')
    const dataDir = await newDataDir(t)
    const first = await start(t, { dataDir })
    await rm(first.master.host, { recursive: true })
    await first.stop()
    const second = await start(t, { dataDir })
    t.not(second.master.host, first.master.host)
    t.equal(dirname(second.master.host), dirname(first.master.host))
    t.same(await query(second.master, 'select 1 as one'), [{ one: 1 }])
  },
)
