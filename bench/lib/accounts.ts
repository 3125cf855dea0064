import { fileURLToPath } from 'node:url'
import { createPasswords } from '../../src/access/passwords.ts'
import { createLogger } from '../../src/kernel/log.ts'
import { openMaster } from '../../src/master/master.ts'
import { type AddressKind, makeAddresses } from '../../test/helpers/addresses.ts'
import type { Shot } from './cannon.ts'
import { type RunningServer, startProcess } from './server-process.ts'
import type { World } from './world.ts'

/** The right password of every account. */
export const password = 'the password of all of them'

/** Addresses of every kind, in the master of this world. */
export const addAddresses = async (world: World, tag: string): Promise<Record<AddressKind, string>> => {
  const passwords = await createPasswords()
  const master = openMaster(world.grounds.master, createLogger('warn'))
  try {
    return await makeAddresses(master.db, { tag, passwordHash: await passwords.hash(password) })
  } finally {
    await master.close()
  }
}

/** A node for accounts in a process of its own. */
export const startAccounts = (world: World): Promise<RunningServer> =>
  startProcess(fileURLToPath(new URL('../servers/accounts.ts', import.meta.url)), {
    grounds: world.grounds,
    tenants: world.tenants,
    connections: 20,
  })

/** A request with a JSON body. What its answer must be is judged by who asks. */
export const post = (path: string, body: object): Shot => {
  const text = JSON.stringify(body)
  const head = `POST ${path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(text)}\r\n\r\n`
  return { request: Buffer.from(head + text), expect: Buffer.alloc(0) }
}
