/** A worker of its own process that also knows the types of these tests: says `ready` with its node's id, and waits to be killed. */
import { loadConfig } from '../../../src/kernel/config.ts'
import { createLogger } from '../../../src/kernel/log.ts'
import { openService } from '../../../src/service.ts'
import { startWorker } from '../../../src/worker.ts'
import { testMasterKey } from '../../helpers/tenant-manager.ts'
import { countingRunner, type WorkerOrder } from './counting.ts'

const run = async (order: WorkerOrder): Promise<void> => {
  const config = loadConfig({ ROLE: 'worker', SPARE_DATABASES: '0' })
  const grounds = { ...order, masterKey: async () => testMasterKey }
  const service = await openService(config, grounds, createLogger('warn'))
  const { patience } = order
  const worker = await startWorker({
    ...service,
    jobRunner: countingRunner(service, { patience }),
    ...(patience === undefined ? {} : { livenessInterval: patience.heartbeatMs }),
  })
  process.send?.({ nodeId: service.nodeId })
  // Whoever started it is gone: nobody is left to kill it.
  process.once('disconnect', () => process.exit(0))
  process.on('message', () => {
    void worker
      .stop()
      .then(() => service.close())
      .then(() => process.exit(0))
  })
}

process.once('message', (order: WorkerOrder) => {
  run(order).catch((error: unknown) => {
    console.error(error)
    process.exit(1)
  })
})
