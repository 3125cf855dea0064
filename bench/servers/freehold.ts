import { buildApp } from '../../src/app.ts'
import { loadConfig } from '../../src/kernel/config.ts'
import { createLogger } from '../../src/kernel/log.ts'
import { openService } from '../../src/service.ts'
import { serve } from '../lib/serve.ts'
import { publicUrl } from '../lib/world.ts'

/** The whole path: token, session, membership, permission, routed Kysely query. All as in production but the log's level. */
serve(async ({ grounds, connections }) => {
  const config = loadConfig({
    PUBLIC_URL: publicUrl,
    ROLE: 'api',
    SPARE_DATABASES: '0',
    LOG_LEVEL: 'warn',
    CONNECTION_BUDGET: String(connections),
  })
  const { master, provisioner } = grounds
  const masterKey = async () => Buffer.from(grounds.masterKey, 'base64')
  const service = await openService(
    config,
    { master, provisioner, masterKey, alone: true },
    createLogger('warn'),
  )
  const { app } = await buildApp(service, async () => [])
  return { app, close: () => service.close(), counters: () => service.router.stats() }
})
