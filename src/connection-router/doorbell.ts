import { connect, isIP, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type { PostgresAddress } from '../kernel/postgres-address.ts'

/** What a new session is given to say "cancel what that session does": it comes with the login. */
export type CancelKey = Readonly<{ processId: number; secret: number }>

/** PostgreSQL manual, "Message Formats": SSLRequest and CancelRequest are told apart from logins by their codes. */
const sslRequest = Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f])

const cancelRequest = ({ processId, secret }: CancelKey): Buffer => {
  const message = Buffer.from([0, 0, 0, 16, 0x04, 0xd2, 0x16, 0x2e, 0, 0, 0, 0, 0, 0, 0, 0])
  message.writeInt32BE(processId, 8)
  message.writeInt32BE(secret, 12)
  return message
}

/** Where a server is, whoever logs in there. */
export type ServerPlace = Pick<PostgresAddress, 'host' | 'port'>

/** A socket to the server, on which nothing has been said. */
export const dial = ({ host, port }: ServerPlace): Socket =>
  connect(host.startsWith('/') ? { path: `${host}/.s.PGSQL.${port}` } : { host, port })

/** Runs `talk` on a bare connection to the server, without a login: it counts against no limit of sessions. */
const atTheDoor = <T>(
  address: PostgresAddress,
  timeoutMs: number,
  talk: (socket: Socket, done: (result: T) => void, failed: (error: Error) => void) => void,
): Promise<T> => {
  const { promise, resolve, reject } = Promise.withResolvers<T>()
  const socket = dial(address)
  const timer = setTimeout(() => reject(new Error('the server does not answer')), timeoutMs)
  socket.on('error', reject)
  socket.once('close', () => reject(new Error('the server hung up')))
  socket.once('connect', () => talk(socket, resolve, reject))
  return promise.finally(() => {
    clearTimeout(timer)
    socket.destroy()
  })
}

/** Resolves when a server answers at this address, whoever may log in there. Rejects at the deadline. */
export const serverAnswers = (address: PostgresAddress, timeoutMs: number): Promise<void> =>
  atTheDoor(address, timeoutMs, (socket, done) => {
    socket.once('data', () => done())
    socket.write(sslRequest)
  })

/**
 * Asks the server to cancel what the session of this key does; encrypted when the address says so. Resolves when the
 * server has taken the request, which may be too late or in vain.
 */
export const requestCancel = (address: PostgresAddress, key: CancelKey, timeoutMs: number): Promise<void> =>
  atTheDoor(address, timeoutMs, (socket, done, failed) => {
    const request = cancelRequest(key)
    if (address.ssl === 'disable') {
      socket.once('end', () => done())
      socket.end(request)
      return
    }
    socket.once('data', (answer) => {
      if (answer.toString('latin1') !== 'S') {
        failed(new Error('the server does not speak TLS'))
        return
      }
      const rejectUnauthorized = address.ssl === 'verify-full'
      const servername = isIP(address.host) === 0 ? { servername: address.host } : {}
      const secure = connectTls({ socket, host: address.host, rejectUnauthorized, ...servername })
      secure.on('error', failed)
      secure.once('end', () => done())
      secure.once('secureConnect', () => secure.end(request))
    })
    socket.write(sslRequest)
  })
