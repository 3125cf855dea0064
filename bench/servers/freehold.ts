import { loadConfig } from '../../src/kernel/config.ts'
import { createLogger } from '../../src/kernel/log.ts'
import { openService } from '../../src/service.ts'
import { buildApp } from '../../src/app.ts'
const { MASTER, PROV, KEY, PORT, BUDGET } = process.env
const config = loadConfig({ SPARE_DATABASES: '0', PUBLIC_URL: 'http://localhost:4000', JWT_EXPIRATION: '86400', LOG_LEVEL: 'warn', ...(BUDGET ? { CONNECTION_BUDGET: BUDGET } : {}) })
const service = await openService(config, { master: JSON.parse(MASTER!), provisioner: JSON.parse(PROV!), masterKey: Buffer.from(KEY!, 'base64') }, createLogger('warn'))
const { app } = await buildApp(service, async () => [])
await app.listen({ port: Number(PORT), host: '127.0.0.1' })
process.send?.('ready')
process.on('message', () => process.send?.(process.cpuUsage()))
process.on('SIGINT', async () => { await app.close(); await service.close(); process.exit(0) })
