import { connect, type Socket } from 'node:net'

/** An answer as it came over the wire: head and body in one text, to be searched. */
export type Reply = Readonly<{ status: number; raw: string; body: string }>

const readReply = (bytes: Buffer): { reply: Reply; rest: Buffer } | undefined => {
  const end = bytes.indexOf('\r\n\r\n')
  if (end === -1) return undefined
  const head = bytes.toString('latin1', 0, end)
  const status = Number(head.slice(9, 12))
  const length = status === 204 ? 0 : Number(/^content-length: (\d+)$/im.exec(head)?.[1])
  if (Number.isNaN(length)) throw new Error(`an answer without a length: ${head}`)
  const to = end + 4 + length
  if (bytes.length < to) return undefined
  const raw = bytes.toString('utf8', 0, to)
  return { reply: { status, raw, body: bytes.toString('utf8', end + 4, to) }, rest: bytes.subarray(to) }
}

/** A node closes what was idle for 72 s; who asks just then has no answer, so a client does not keep a connection for that long. */
const idleMs = 60_000

/** One client's kept-alive connection to a node: one request at a time. A library would cost more than the request. */
export class HttpLine {
  readonly #port: number
  #socket: Socket | undefined
  #usedAt = 0
  #received: Buffer = Buffer.alloc(0)
  #waiting: PromiseWithResolvers<Reply | undefined> | undefined

  constructor(port: number) {
    this.#port = port
  }

  /** Undefined when we hung up, `hangUpMs` after sending. Rejects when the node hung up, or said something unasked. */
  async ask(request: string, hangUpMs?: number): Promise<Reply | undefined> {
    if (performance.now() - this.#usedAt > idleMs) this.close()
    const socket = this.#connected()
    this.#usedAt = performance.now()
    this.#waiting = Promise.withResolvers()
    const { promise } = this.#waiting
    socket.write(request)
    if (hangUpMs === undefined) return promise
    const timer = setTimeout(() => this.close(), hangUpMs)
    try {
      return await promise
    } finally {
      clearTimeout(timer)
    }
  }

  close(): void {
    const socket = this.#socket
    this.#socket = undefined
    socket?.destroy()
    this.#settle(({ resolve }) => resolve(undefined))
  }

  #connected(): Socket {
    if (this.#socket !== undefined) return this.#socket
    const socket = connect({ host: '127.0.0.1', port: this.#port, noDelay: true })
    this.#socket = socket
    this.#received = Buffer.alloc(0)
    socket.on('error', () => {})
    socket.on('close', () => {
      if (this.#socket === socket) {
        const askedFor = Math.round(performance.now() - this.#usedAt)
        this.#lose(new Error(`the node hung up ${askedFor} ms after it was asked`))
      }
    })
    socket.on('data', (bytes) => {
      if (this.#socket === socket) this.#read(bytes)
    })
    return socket
  }

  #read(bytes: Buffer): void {
    this.#received = this.#received.length === 0 ? bytes : Buffer.concat([this.#received, bytes])
    try {
      const read = readReply(this.#received)
      if (read === undefined) return
      if (read.rest.length > 0 || this.#waiting === undefined) throw new Error('an answer to no question')
      this.#received = read.rest
      this.#settle(({ resolve }) => resolve(read.reply))
    } catch (error) {
      this.#lose(error)
    }
  }

  #lose(error: unknown): void {
    this.#socket?.destroy()
    this.#socket = undefined
    this.#settle(({ reject }) => reject(error))
  }

  #settle(how: (waiting: PromiseWithResolvers<Reply | undefined>) => void): void {
    const waiting = this.#waiting
    this.#waiting = undefined
    if (waiting !== undefined) how(waiting)
  }
}

/** The text of a request with a bearer token. */
export const requestText = (method: string, path: string, token?: string, body?: unknown): string => {
  const payload = body === undefined ? '' : JSON.stringify(body)
  const type =
    body === undefined
      ? ''
      : `content-type: application/json\r\ncontent-length: ${Buffer.byteLength(payload)}\r\n`
  const bearer = token === undefined ? '' : `authorization: Bearer ${token}\r\n`
  return `${method} ${path} HTTP/1.1\r\nhost: fuzz\r\n${bearer}${type}\r\n${payload}`
}
