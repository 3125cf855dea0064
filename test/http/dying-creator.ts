/**
 * A node that is killed while it creates something. Reads its orders from standard input; kills itself with SIGKILL as soon
 * as the `killAt`-th message since the request came is on its way to a server, which goes on with what it was sent. Prints
 * how many there were when it survives to the answer, which nobody gets.
 */

import { Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { buildApp } from '../../src/app.ts'
import { loadConfig } from '../../src/kernel/config.ts'
import { createLogger } from '../../src/kernel/log.ts'
import type { PostgresAddress } from '../../src/kernel/postgres-address.ts'
import { openService } from '../../src/service.ts'

export type Orders = {
  addresses: { master: PostgresAddress; provisioner: PostgresAddress }
  request: { method: 'POST'; url: string; headers: Record<string, string>; payload: object }
  killAt: number
}

const { addresses, request, killAt }: Orders = JSON.parse(await text(process.stdin))
const config = loadConfig({ PUBLIC_URL: 'http://localhost:4000', RATE_LIMITS: 'off' })
const grounds = { ...addresses, masterKey: async () => Buffer.alloc(32, 7) }
const service = await openService(config, grounds, createLogger('silent'))
const { app } = await buildApp(service, async () => [])

let messages = 0
const { write } = Socket.prototype
Object.defineProperty(Socket.prototype, 'write', {
  value: function (this: Socket, ...parameters: unknown[]): unknown {
    messages += 1
    const answer: unknown = Reflect.apply(write, this, parameters)
    if (messages === killAt) setImmediate(() => process.kill(process.pid, 'SIGKILL'))
    return answer
  },
})
const { statusCode } = await app.inject(request)
if (statusCode >= 300) throw new Error(`the request failed: ${statusCode}`)
const { write: print } = process.stdout
Reflect.apply(print, process.stdout, [`${messages}\n`, () => process.kill(process.pid, 'SIGKILL')])
