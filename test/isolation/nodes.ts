import type { AddressInfo } from 'node:net'
import { buildApp } from '../../src/app.ts'
import type { App } from '../../src/http/app.ts'
import { loadConfig } from '../../src/kernel/config.ts'
import { createLogger } from '../../src/kernel/log.ts'
import { openService, type Service } from '../../src/service.ts'
import { testMasterKey } from '../helpers/tenant-manager.ts'
import { canariesIn } from './canaries.ts'
import type { FuzzWorld } from './world.ts'

/** One node with its whole HTTP path on a port of its own. */
export type FuzzNode = Readonly<{
  service: Service
  port: number
  /** Resolves when the node has heard of everything that was committed before this marker on the change channel. */
  heard(marker: string): PendingMarker
  close(): Promise<void>
}>

/** Say that it was committed: from then on a node that forgets everything has heard it too. */
export type PendingMarker = { readonly promise: Promise<void>; committed: boolean }

/** Server connections of all nodes together: far too few for so many tenants. */
export const budget = 40

const config = loadConfig({
  PUBLIC_URL: 'http://fuzz',
  CONNECTION_BUDGET: String(budget),
  // Of all nodes: three on each.
  TENANT_MAX_CONNECTIONS: '12',
  SPARE_DATABASES: '0',
  RATE_LIMITS: 'off',
  // A long run signs in once.
  JWT_EXPIRATION: '86400',
})

/** Listens in on what the node's caches are told, which they obey in the same breath. */
const listenIn = ({ grants }: Service): FuzzNode['heard'] => {
  const waiting = new Map<string, PendingMarker & { resolve(): void }>()
  const forget = grants.forget.bind(grants)
  const forgetAll = grants.forgetAll.bind(grants)
  const settle = (marker: string): void => {
    const pending = waiting.get(marker)
    waiting.delete(marker)
    // The router is told after the grants.
    if (pending !== undefined) queueMicrotask(pending.resolve)
  }
  grants.forget = (change) => {
    forget(change)
    settle(change)
  }
  grants.forgetAll = () => {
    forgetAll()
    for (const [marker, { committed }] of waiting) if (committed) settle(marker)
  }
  return (marker) => {
    const { promise, resolve } = Promise.withResolvers<void>()
    const pending = { promise, resolve, committed: false }
    waiting.set(marker, pending)
    return pending
  }
}

/** Log lines have no business with what is in a database, whosever it is. */
const openLog = (onCanary: (line: string) => void) =>
  createLogger('trace', {
    write: (line: string) => {
      if (canariesIn(line).size > 0) onCanary(line)
    },
  })

const portOf = (app: App): number => (app.server.address() as AddressInfo).port

const openNode = async (
  world: Pick<FuzzWorld, 'master' | 'provisioner'>,
  alone: boolean,
  onCanary: (line: string) => void,
): Promise<FuzzNode> => {
  const grounds = {
    master: world.master,
    provisioner: world.provisioner,
    alone,
    masterKey: async () => testMasterKey,
  }
  const service = await openService(config, grounds, openLog(onCanary))
  const heard = listenIn(service)
  const { app } = await buildApp(service, async () => [])
  await app.listen({ host: '127.0.0.1', port: 0 })
  const close = async (): Promise<void> => {
    await app.close()
    await service.close()
  }
  return { service, port: portOf(app), heard, close }
}

/** Opens nodes on one master. Each line of their logs that holds a canary is reported. */
export const openNodes = async (
  world: Pick<FuzzWorld, 'master' | 'provisioner'>,
  count: number,
  onCanary: (line: string) => void,
): Promise<FuzzNode[]> => {
  // The first one forgets the nodes of an earlier run that was killed.
  const first = await openNode(world, true, onCanary)
  const others = Array.from({ length: count - 1 }, () => openNode(world, false, onCanary))
  return [first, ...(await Promise.all(others))]
}
