/**
 * A node that does one piece of lifecycle work and is killed in the middle. Reads its orders from standard input; kills
 * itself with SIGKILL at its `killAt`-th statement: `before` it is sent, or `after` it is on its way to the server, which
 * goes on executing it. Prints how many statements the work takes when it survives.
 */

import { text } from 'node:stream/consumers'
import { setImmediate } from 'node:timers/promises'
import pg from 'pg'
import type { PostgresAddress } from '../../src/kernel/postgres-address.ts'
import { openLandlord } from '../helpers/tenant-manager.ts'

export type Orders = {
  addresses: { master: PostgresAddress; provisioner: PostgresAddress }
  work: 'build' | 'erase' | 'provision' | 'migrate'
  /** The database or tenant to work on. */
  id?: string
  killAt: number
  when: 'before' | 'after'
  migrationsFolder?: string
}

const orders: Orders = JSON.parse(await text(process.stdin))
const { addresses, work, id = '', killAt, when } = orders
const { manager, cluster } = await openLandlord(addresses, {
  install: false,
  spareDatabases: 0,
  ...(orders.migrationsFolder === undefined ? {} : { migrationsFolder: orders.migrationsFolder }),
})

let statements = 0
const die = (): void => {
  process.kill(process.pid, 'SIGKILL')
}
const query = pg.Client.prototype.query
Object.defineProperty(pg.Client.prototype, 'query', {
  value: function (this: pg.Client, ...parameters: unknown[]): unknown {
    statements += 1
    const last = statements === killAt
    if (last && when === 'before') die()
    const answer: unknown = Reflect.apply(query, this, parameters)
    if (last) void setImmediate().then(die)
    return answer
  },
})

const deeds = {
  build: () => manager.buildDatabase(cluster.id),
  erase: () => manager.eraseDatabase(id),
  provision: () => manager.provisionTenant(id),
  migrate: () => manager.migrateDatabases(),
}
await deeds[work]()
process.stdout.write(`${statements}\n`, () => process.exit(0))
