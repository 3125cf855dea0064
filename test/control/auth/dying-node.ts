import { buildApp } from '../../../src/app.ts'
import { loadConfig } from '../../../src/kernel/config.ts'
import { createLogger } from '../../../src/kernel/log.ts'
import { openService } from '../../../src/service.ts'

/**
 * A node that is killed when it has committed a refresh and is about to answer. Its first message names the servers, its
 * second the refresh token to exchange.
 */
const open = async (postgres: Parameters<typeof openService>[1]): Promise<void> => {
  const grounds = { ...postgres, masterKey: async () => Buffer.alloc(32, 7) }
  const config = loadConfig({ PUBLIC_URL: 'http://localhost:4000' })
  const service = await openService(config, grounds, createLogger('silent'))
  const { app } = await buildApp(service, async () => [])
  process.on('message', (refreshToken: string) => {
    const answer = app.inject({ method: 'POST', url: '/auth/refresh', payload: { refreshToken } })
    // The answer is there, so the transaction has committed; nobody gets it.
    void answer.then(({ statusCode }) =>
      process.send?.({ statusCode }, undefined, undefined, () => process.kill(process.pid, 'SIGKILL')),
    )
  })
  process.send?.('ready')
}

process.once('message', (postgres: Parameters<typeof openService>[1]) => void open(postgres))
