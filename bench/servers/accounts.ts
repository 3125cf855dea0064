import { buildApp } from '../../src/app.ts'
import { loadConfig } from '../../src/kernel/config.ts'
import { createLogger } from '../../src/kernel/log.ts'
import { openService } from '../../src/service.ts'
import { serve } from '../lib/serve.ts'
import { publicUrl } from '../lib/world.ts'

/** A node where accounts are the work: an address is proved before there is an account, and nothing is limited by count. */
serve(async ({ grounds }) => {
  const config = loadConfig({
    PUBLIC_URL: publicUrl,
    ROLE: 'api',
    SPARE_DATABASES: '0',
    LOG_LEVEL: 'warn',
    RATE_LIMITS: 'off',
    VERIFY_EMAIL: 'before',
  })
  const { master, provisioner } = grounds
  const masterKey = async () => Buffer.from(grounds.masterKey, 'base64')
  const grown = { master, provisioner, masterKey, alone: true }
  const service = await openService(config, grown, createLogger('warn'))
  const { app } = await buildApp(service, async () => [])
  return { app, close: () => service.close() }
})
