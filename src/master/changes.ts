import pg from 'pg'
import type { Logger } from '../kernel/log.ts'
import { clientOptions, type PostgresAddress } from '../kernel/postgres-address.ts'

const channel = 'freehold_changes'
/** How often a node hears itself over its channel. */
export const heartbeatMs = 300
/**
 * When the last heartbeat that we heard was sent longer ago than this, and three of them are missing, changes may have been missed.
 * A change acts within 2 s even then: the rest of them is for the request that meets it, on a busy machine too.
 */
export const silenceMs = 1_200
/** The connection is given up when so many heartbeats have passed without one being heard: after some two seconds. */
const mostUnheard = 6
const connectTimeoutMs = 5_000
const reconnectMs = 250

/** The master's change notifications as one node hears them. */
export type ChangeFeed = {
  /** False while changes may be missed: whoever remembers answers must read through. */
  isFresh(): boolean
  close(): Promise<void>
}

export type ChangeHandlers = {
  /** One change, e.g. `tenant:<id>`; see migrations-master. */
  onChange: (change: string) => void
  /** Changes may have been missed: forget everything. */
  onGap: () => void
}

/** One connection's life: listens, sends itself heartbeats, and resolves when it is over. */
const listenOnce = async (
  client: pg.Client,
  heard: { at: number },
  handlers: ChangeHandlers,
  onReady: () => void,
): Promise<void> => {
  const over = new Promise<void>((resolve) => {
    client.on('end', resolve)
    client.on('error', () => resolve())
  })
  const node = `beat:${crypto.randomUUID()}:`
  let [beating, unheard] = [true, 0]
  client.on('notification', ({ payload = '' }) => {
    if (payload.startsWith(node)) {
      // What was committed before it was sent has been heard; of what came later, however late this one is, nothing is known.
      heard.at = Number(payload.slice(node.length))
      unheard = 0
    } else if (!payload.startsWith('beat:')) handlers.onChange(payload)
  })
  // The driver leaves a connect unsettled that is hung up on after `end`.
  const hungUp = over.then(() => Promise.reject(new Error('the connection ended while it was opened')))
  await Promise.race([client.connect(), hungUp])
  const beat = setInterval(() => {
    // Counted, not timed: after a pause of this process what has come meanwhile is still to be read.
    unheard += 1
    if (unheard > mostUnheard) client.connection.stream.destroy()
    if (beating) return
    beating = true
    const sent = client.query('select pg_notify($1, $2)', [channel, `${node}${performance.now()}`])
    sent
      .catch(() => {})
      .finally(() => {
        beating = false
      })
  }, heartbeatMs)
  try {
    const began = performance.now()
    await client.query(`listen ${channel}`)
    // Whatever changed before LISTEN took effect was not heard.
    handlers.onGap()
    heard.at = began
    ;[beating, unheard] = [false, 0]
    onReady()
    await over
  } finally {
    clearInterval(beat)
  }
}

/**
 * Listens for changes in the master on a connection of its own, with a heartbeat through the same channel, so that a
 * half-open socket, a silent server or a late one shows within two seconds. Reconnects until closed. Resolves once it listens.
 */
export const openChangeFeed = async (
  address: PostgresAddress,
  handlers: ChangeHandlers,
  log: Logger,
): Promise<ChangeFeed> => {
  const heard = { at: Number.NEGATIVE_INFINITY }
  let closing = false
  let client: pg.Client | undefined
  let lost = false
  const ready = Promise.withResolvers<void>()
  const run = async (): Promise<void> => {
    while (!closing) {
      client = new pg.Client({
        ...clientOptions(address),
        application_name: 'freehold changes',
        connectionTimeoutMillis: connectTimeoutMs,
        keepAlive: true,
      })
      try {
        await listenOnce(client, heard, handlers, () => {
          if (lost) log.info('the change channel is back')
          lost = false
          ready.resolve()
        })
      } catch (error) {
        if (!lost) log.warn({ err: error }, 'the change channel cannot be opened; caches are read through')
      }
      if (closing) return
      if (!lost) log.warn('the change channel was lost; caches are read through until it is back')
      lost = true
      client.end().catch(() => {})
      await new Promise((resolve) => setTimeout(resolve, reconnectMs))
    }
  }
  const finished = run()
  await ready.promise
  return {
    isFresh: () => performance.now() - heard.at <= silenceMs,
    close: async () => {
      closing = true
      await client?.end().catch(() => {})
      await finished
    },
  }
}
