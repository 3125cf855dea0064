import { chmod, mkdtemp, realpath, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { startEmbeddedPostgres } from '../../src/embedded-postgres/embedded-postgres.ts'
import type { PostgresAddress } from '../../src/kernel/postgres-address.ts'
import type { TestPostgres } from './postgres.ts'
import { provideServerCopy } from './server-copies.ts'

/** A server that can be stopped and started again, and is found at the same addresses. */
export type RestartablePostgres = TestPostgres & {
  /** Ends every session, and resolves when the server is gone. */
  stop(): Promise<void>
  start(): Promise<void>
}

/**
 * Starts a furnished server, as startTestPostgres does. Its addresses name a link to the folder of its socket, which is another
 * one after each start. Not for Windows, where nothing but the port could stay.
 */
export const startRestartable = async (t: Test): Promise<RestartablePostgres> => {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'test-freehold-')))
  await chmod(folder, 0o711)
  t.teardown(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }))
  const [dataDir, socket] = [join(folder, 'data'), join(folder, 'socket')]
  await provideServerCopy(dataDir, 'furnished')
  const run = async () => {
    const started = await startEmbeddedPostgres({ dataDir, durable: false })
    await rm(socket, { force: true })
    await symlink(started.superuser.host, socket)
    return started
  }
  let server = await run()
  t.teardown(() => server.stop())
  const linked = (address: PostgresAddress): PostgresAddress => ({ ...address, host: socket })
  return {
    master: linked(server.master),
    provisioner: linked(server.provisioner),
    superuser: linked(server.superuser),
    version: server.version,
    stop: () => server.stop(),
    start: async () => {
      server = await run()
    },
  }
}
