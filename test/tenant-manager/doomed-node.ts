/**
 * A node that does one piece of lifecycle work and is killed in the middle. Reads its orders from standard input; kills
 * itself with SIGKILL as soon as its `killAt`-th statement is on its way to the server, which goes on executing it. Prints
 * how many statements the work takes when it survives.
 */

import { text } from 'node:stream/consumers'
import pg from 'pg'
import type { PostgresAddress } from '../../src/kernel/postgres-address.ts'
import { openLandlord } from '../helpers/tenant-manager.ts'

export type Orders = {
  addresses: { master: PostgresAddress; provisioner: PostgresAddress }
  work: 'build' | 'erase' | 'provision' | 'purge' | 'tell'
  /** The database or tenant to work on. */
  id?: string
  killAt: number
}

const orders: Orders = JSON.parse(await text(process.stdin))
const { addresses, work, id = '', killAt } = orders
const { manager, cluster } = await openLandlord(addresses, { install: false, spareDatabases: 0 })

let statements = 0
const query = pg.Client.prototype.query
Object.defineProperty(pg.Client.prototype, 'query', {
  value: function (this: pg.Client, ...parameters: unknown[]): unknown {
    statements += 1
    const answer: unknown = Reflect.apply(query, this, parameters)
    if (statements === killAt) setImmediate(() => process.kill(process.pid, 'SIGKILL'))
    return answer
  },
})

const deeds = {
  build: () => manager.buildDatabase(cluster.id),
  erase: () => manager.eraseDatabase(id),
  provision: () => manager.provisionTenant(id),
  purge: () => manager.purgeTenants(),
  tell: () => manager.deliverOutbox(id),
}
await deeds[work]()
process.stdout.write(`${statements}\n`, () => process.exit(0))
