import type { Socket } from 'node:net'
import type { PostgresAddress } from '../kernel/postgres-address.ts'
import { dial } from './doorbell.ts'

/** A server gives up on a socket that says nothing after 60 s (`authentication_timeout`); nobody waits for that. */
const usuallyKeptMs = 10_000
/** After a connect: the first statements of the new session shall not have to share the processor with the next one's start. */
const pauseMs = 20

/** What is known of a server that was connected to. */
type Server = { socket?: Socket; timer?: NodeJS.Timeout; asksForScram: boolean }

/** The driver connects its socket itself; this one is connected, or about to be. */
const connectedAlready = (socket: Socket): Socket => {
  socket.connect = () => {
    if (!socket.connecting) queueMicrotask(() => socket.emit('connect'))
    return socket
  }
  return socket
}

/** Whoever comes next connects anew. */
const ignore = (): void => {}

/**
 * What makes the next connect to a server cheaper than the first: how it asks for the password, and a socket that is connected
 * before anybody needs it. The server has started a process for that one by then, a fifth of what a connection costs,
 * which waits for a login, whosever it will be: until then it is nobody's session, counts against no limit of sessions, and
 * nothing was said on it.
 */
export class KnownServers {
  readonly #servers = new Map<string, Server>()
  readonly #keptMs: number
  #closed = false

  /** `keptMs` is how long a socket waits for the next connect. */
  constructor({ keptMs = usuallyKeptMs }: { keptMs?: number } = {}) {
    this.#keptMs = keptMs
  }

  /** A socket for the driver to log in on; undefined when there is none, or none that is still good. */
  takeSocket(address: PostgresAddress): Socket | undefined {
    const server = this.#at(address)
    const { socket } = server
    if (socket === undefined) return undefined
    this.#forgetSocket(server)
    // A server has nothing to say before a login, but why it hangs up.
    if (!socket.destroyed && socket.readableLength === 0) return connectedAlready(socket.off('error', ignore))
    socket.destroy()
    return undefined
  }

  /** Soon has a socket to this server, for a while. */
  prepareSocket(address: PostgresAddress): void {
    const server = this.#at(address)
    if (this.#closed || server.timer !== undefined) return
    server.timer = setTimeout(() => {
      server.socket = dial(address).on('error', ignore)
      server.timer = setTimeout(() => this.#dropSocket(server), this.#keptMs).unref()
    }, pauseMs).unref()
  }

  /** True when the last login there was asked for by SCRAM. */
  asksForScram(address: PostgresAddress): boolean {
    return this.#at(address).asksForScram
  }

  learnScram(address: PostgresAddress, asks: boolean): void {
    this.#at(address).asksForScram = asks
  }

  close(): void {
    this.#closed = true
    for (const server of this.#servers.values()) this.#dropSocket(server)
  }

  #at({ host, port }: PostgresAddress): Server {
    const key = `${host} ${port}`
    const known = this.#servers.get(key)
    if (known !== undefined) return known
    const server: Server = { asksForScram: false }
    this.#servers.set(key, server)
    return server
  }

  #dropSocket(server: Server): void {
    server.socket?.destroy()
    this.#forgetSocket(server)
  }

  #forgetSocket(server: Server): void {
    clearTimeout(server.timer)
    delete server.socket
    delete server.timer
  }
}
