import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chown, mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'
import { type Served, type Setup, serve } from '../lib/serve.ts'
import {
  onlyRow,
  type ProjectRequest,
  type ProjectRow,
  projectQuery,
  projectSchema,
  toView,
} from './project.ts'
import { createTenantPools } from './tenant-pools.ts'

const port = 6432
/** Connections of the pool of each tenant to PgBouncer, which are cheap. */
const clientsPerTenant = 10
const startMs = 10_000

const settings = (folder: string, { grounds, tenants, connections }: Setup): string => `
[databases]
* = host=${grounds.master.host} port=${grounds.master.port}

[pgbouncer]
listen_addr =
listen_port = ${port}
unix_socket_dir = ${folder}
auth_type = scram-sha-256
auth_file = ${join(folder, 'users.txt')}
pool_mode = transaction
max_prepared_statements = 200
max_client_conn = 20000
default_pool_size = ${Math.min(10, Math.max(1, Math.floor(connections / tenants.length)))}
`

type Bouncer = Readonly<{ folder: string; child: ChildProcess }>

/** Runs PgBouncer on a socket of its own, as the user of the database server (it refuses to be root). */
const startBouncer = async (setup: Setup): Promise<Bouncer> => {
  const folder = await mkdtemp(join(tmpdir(), 'bench-pgbouncer-'))
  const { uid, gid } = await stat(setup.grounds.master.host)
  const users = setup.tenants.map(({ address }) => `"${address.user}" "${address.password}"\n`).join('')
  const files = { 'pgbouncer.ini': settings(folder, setup), 'users.txt': users }
  for (const [name, text] of Object.entries(files)) {
    await writeFile(join(folder, name), text, { mode: 0o600 })
    await chown(join(folder, name), uid, gid)
  }
  await chown(folder, uid, gid)
  const child = spawn('pgbouncer', ['-q', join(folder, 'pgbouncer.ini')], { uid, gid, stdio: 'ignore' })
  const socket = join(folder, `.s.PGSQL.${port}`)
  const deadline = Date.now() + startMs
  for (;;) {
    const listens = await stat(socket).then(
      () => true,
      () => false,
    )
    if (listens) return { folder, child }
    if (child.exitCode !== null || Date.now() > deadline) {
      child.kill()
      throw new Error('PgBouncer did not start; it must be 1.21 or newer')
    }
    await sleep(50)
  }
}

const stopBouncer = async ({ folder, child }: Bouncer): Promise<void> => {
  const exited = once(child, 'exit')
  child.kill('SIGTERM')
  await exited
  await rm(folder, { recursive: true, force: true })
}

/** A `pg.Pool` per tenant in front of PgBouncer in transaction mode. It has no limit over all databases together. */
const open = async (setup: Setup): Promise<Served> => {
  const bouncer = await startBouncer(setup)
  const addresses = setup.tenants.map(({ address }) => ({ ...address, host: bouncer.folder, port }))
  const pools = createTenantPools(addresses, { pools: addresses.length, size: clientsPerTenant })
  const app = Fastify()
  app.get<ProjectRequest>('/api/projects/:id', { schema: projectSchema }, async (request) =>
    pools.use(Number(request.headers['x-tenant']), async (pool) =>
      toView(onlyRow(await pool.query<ProjectRow>(projectQuery(request.params.id, 'project')))),
    ),
  )
  const close = async (): Promise<void> => {
    await pools.close()
    await stopBouncer(bouncer)
  }
  return { app, close }
}

serve(open)
