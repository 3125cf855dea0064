import pg from 'pg'

/**
 * What a statement sends, as bytes (PostgreSQL manual, "Message Formats"). The driver's own functions write each message
 * by itself; here one statement is one buffer, so that a whole batch of them is one system call.
 */

/** A parameter as the server takes it: text, bytes, or null. The driver's own rules for dates, arrays and objects. */
type WireValue = string | Buffer | null

// The driver's types leave its `utils` out.
const { prepareValue } = (pg as unknown as { utils: { prepareValue(value: unknown): WireValue } }).utils

const toWire = (value: unknown): WireValue => {
  if (typeof value === 'string') return value
  if (value === null || value === undefined) return null
  return prepareValue(value)
}

/** The protocol counts parameters in 16 bits. */
const maxParameters = 65_535

const describePortal = Buffer.from([0x44, 0, 0, 0, 6, 0x50, 0])
/** No result formats (all text), then Execute without a row limit, then Sync. */
const executeAndSync = Buffer.from([0, 0, 0x45, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0x53, 0, 0, 0, 4])
const [noFormats, execution] = [executeAndSync.subarray(0, 2), executeAndSync.subarray(2)]

/** CopyFail and the Sync that the server waits for after it: the one before was swallowed with the copy's data. */
export const refuseCopy = Buffer.concat([Buffer.from([0x66, 0, 0, 0, 5, 0]), Buffer.from([0x53, 0, 0, 0, 4])])

/** Flush: asks for nothing new, but makes a server that no longer knows the connection say so. */
export const flush = Buffer.from([0x48, 0, 0, 0, 4])

const textMessage = (code: number, head: string, body: Buffer): Buffer => {
  const message = Buffer.allocUnsafe(5 + Buffer.byteLength(head) + body.length)
  message[0] = code
  message.writeInt32BE(message.length - 1, 1)
  body.copy(message, 5 + message.write(head, 5))
  return message
}

/** Parse, under a name of ours or under none. The server infers the types of the parameters. */
export const parseMessage = (name: string, text: string): Buffer =>
  textMessage(0x50, `${name}\0${text}\0`, Buffer.alloc(2))

/** Forgets a prepared statement. */
export const closeMessage = (name: string): Buffer => textMessage(0x43, `S${name}\0`, Buffer.alloc(0))

/**
 * Bind, Describe (when the shape of the rows is not known yet), Execute and Sync. Throws what a parameter throws that
 * can't be written; nothing has been sent then.
 */
export const executionMessages = (
  name: string,
  parameters: readonly unknown[],
  describe: boolean,
): Buffer => {
  const count = parameters.length
  if (count > maxParameters) throw new RangeError(`a statement takes at most ${maxParameters} parameters`)
  const values = new Array<WireValue>(count)
  const sizes = new Array<number>(count)
  // Portal without a name, statement, format codes, values.
  let bindSize = 4 + 1 + name.length + 1 + 2 + 2 * count + 2 + 4 * count + 2
  for (let i = 0; i < count; i++) {
    const value = toWire(parameters[i])
    const size = value === null ? -1 : typeof value === 'string' ? Buffer.byteLength(value) : value.length
    values[i] = value
    sizes[i] = size
    if (size > 0) bindSize += size
  }
  const bytes = Buffer.allocUnsafe(1 + bindSize + (describe ? describePortal.length : 0) + execution.length)
  bytes[0] = 0x42
  let at = bytes.writeInt32BE(bindSize, 1)
  bytes[at++] = 0
  at += bytes.write(name, at, 'latin1')
  bytes[at++] = 0
  at = bytes.writeUInt16BE(count, at)
  for (let i = 0; i < count; i++) at = bytes.writeInt16BE(values[i] instanceof Buffer ? 1 : 0, at)
  at = bytes.writeUInt16BE(count, at)
  for (let i = 0; i < count; i++) {
    const value = values[i] ?? null
    at = bytes.writeInt32BE(sizes[i] ?? -1, at)
    if (value === null) continue
    at += typeof value === 'string' ? bytes.write(value, at) : value.copy(bytes, at)
  }
  if (!describe) {
    executeAndSync.copy(bytes, at)
    return bytes
  }
  at += noFormats.copy(bytes, at)
  at += describePortal.copy(bytes, at)
  execution.copy(bytes, at)
  return bytes
}
