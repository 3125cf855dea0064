/** A worker whose provisioning never ends: prints a line when it has begun, and waits to be killed. */
import { text } from 'node:stream/consumers'
import { createLogger } from '../../src/kernel/log.ts'
import { startWorker } from '../../src/worker.ts'
import { noAccountTasks } from '../helpers/no-account-tasks.ts'
import { openLandlord } from '../helpers/tenant-manager.ts'

const { master, manager } = await openLandlord(JSON.parse(await text(process.stdin)), { install: false })
const provisionTenant = async (): Promise<void> => {
  process.stdout.write('stuck\n')
  await new Promise(() => {})
}
await startWorker({
  master,
  manager: { ...manager, provisionTenant },
  log: createLogger('silent'),
  accountTasks: noAccountTasks,
})
