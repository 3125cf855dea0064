import type { Socket } from 'node:net'
import { dial, type ServerPlace } from './doorbell.ts'

/** Half of the time after which our own server gives up on a socket that says nothing (`authentication_timeout`); others take 60 s. */
const usuallyKeptMs = 5_000
/**
 * A server that is there has answered within this time. A socket that was dialled longer ago may be stale: a firewall between may have
 * forgotten it, or another machine may have the address by now.
 */
const answerMs = 1_000
/** After a connect: the first statements of the new session shall not have to share the processor with the next one's start. */
const pauseMs = 20

/** Of one server: a socket once there is one; until then, the timer that makes it, and then the one that drops it. */
type Door = { socket?: Socket; freshUntil?: number; timer: NodeJS.Timeout }

/**
 * A socket to log in on. It may be stale, when it was opened some time ago: if nothing is heard on it, that says nothing about the
 * server. One that has only just been dialled, and not because a login went well, is as good a question as any.
 */
export type ReadySocket = Readonly<{ socket: Socket; mayBeStale: boolean }>

const doorOf = ({ host, port }: ServerPlace): string => `${host} ${port}`

/** The driver connects its socket itself; this one is connected, or about to be. */
const connectedAlready = (socket: Socket): Socket => {
  socket.connect = () => {
    // Before what else waits for this turn of the loop: the server can be at work meanwhile.
    if (!socket.connecting) queueMicrotask(() => socket.emit('connect'))
    return socket
  }
  return socket
}

/** Whoever comes next connects anew. */
const ignore = (): void => {}

/**
 * For each server that was connected to of late, one socket that is connected before anybody needs it. The server has started a
 * process for it by then, a fifth of what a connection costs, which waits for a login, whosever it will be: until then it is
 * nobody's session, counts against no limit of sessions, and nothing was said on it.
 */
export class ReadySockets {
  readonly #doors = new Map<string, Door>()
  readonly #keptMs: number
  /** The server that was connected to last. */
  #latest: ServerPlace | undefined
  #closed = false

  /** `keptMs` is how long a socket waits for the next connect. */
  constructor({ keptMs = usuallyKeptMs }: { keptMs?: number } = {}) {
    this.#keptMs = keptMs
  }

  /**
   * A socket for the driver to log in on; undefined when there is none, or none that looks good. That it is no longer good may show
   * only when something is said: one that may be stale is cut when nothing comes back within a second.
   */
  take(address: ServerPlace): ReadySocket | undefined {
    const key = doorOf(address)
    const { socket, freshUntil = 0 } = this.#doors.get(key) ?? {}
    if (socket === undefined) return undefined
    this.#forget(key)
    // A server has nothing to say before a login, but why it hangs up.
    if (!socket.connecting && (socket.readyState !== 'open' || socket.readableLength > 0)) {
      socket.destroy()
      return undefined
    }
    const mayBeStale = performance.now() >= freshUntil
    if (mayBeStale) {
      setTimeout(() => {
        if (socket.bytesRead === 0) socket.destroy()
      }, answerMs).unref()
    }
    return { socket: connectedAlready(socket.off('error', ignore)), mayBeStale }
  }

  /** After a connect to this server: soon has a socket to it, for a while. */
  prepare({ host, port }: ServerPlace): void {
    const place = { host, port }
    const key = doorOf(place)
    this.#latest = place
    if (this.#closed || this.#doors.has(key)) return
    this.#doors.set(key, { timer: setTimeout(() => this.#open(place), pauseMs).unref() })
  }

  /**
   * Somebody may be about to connect, and which server it will be is still being looked up: has a socket at once to the one that was
   * connected to last. Where there is one server it is that one; where there are several, and it is another, little is lost.
   */
  anticipate(): void {
    if (this.#closed || this.#latest === undefined) return
    const key = doorOf(this.#latest)
    // One that has died stays for its time: a server that is away is not to be dialled again and again.
    if (this.#doors.get(key)?.socket !== undefined) return
    this.#forget(key)
    this.#open(this.#latest, performance.now() + answerMs)
  }

  close(): void {
    this.#closed = true
    for (const key of [...this.#doors.keys()]) this.#drop(key)
  }

  #open(place: ServerPlace, freshUntil = 0): void {
    const key = doorOf(place)
    const timer = setTimeout(() => this.#drop(key), this.#keptMs).unref()
    this.#doors.set(key, { socket: dial(place).on('error', ignore), freshUntil, timer })
  }

  #drop(key: string): void {
    this.#doors.get(key)?.socket?.destroy()
    this.#forget(key)
  }

  #forget(key: string): void {
    clearTimeout(this.#doors.get(key)?.timer)
    this.#doors.delete(key)
  }
}
