import { Server as NetServer } from 'node:net'
import type { App } from './app.ts'

/** After the farewell, connections that have nothing to say are closed, looked for this often. */
const idleCheckMs = 50
/** Whoever has called or asked while the event loop was busy for longer than this may not have been heard. */
const calmMs = 2
/** So long they get the benefit of the doubt. */
const mostUneaseMs = 2_000

/**
 * Does something right after a turn of the event loop that was short: whatever others had sent before it has been read, and
 * whoever had called has been let in. When no turn is short for long, after a long one.
 */
const whenCalm = (work: () => void): void => {
  const latest = performance.now() + mostUneaseMs
  const wait = (): void => {
    const began = performance.now()
    setImmediate(() => {
      const now = performance.now()
      if (now - began < calmMs || now > latest) work()
      else wait()
    })
  }
  wait()
}

/**
 * Closes the listener first, so that nobody new comes; then every answer asks its client to leave, and connections that say
 * nothing for a while are closed. Closed at once, as Node would, they could be cut while a request is on its way into them.
 * Nobody is asked to leave before the listener is closed: they would be back, and be cut with it before they are let in.
 * Requests under way are answered. `farewell` is in milliseconds: so long a client has to send what it is about to send.
 */
export const takeLeave = async (app: App, farewell: number): Promise<void> => {
  const { server } = app
  let over = false
  const closed = new Promise<void>((resolve) => {
    whenCalm(() => {
      NetServer.prototype.close.call(server, () => resolve())
      server.prependListener('request', (_request, answer) => void answer.setHeader('connection', 'close'))
    })
  })
  const dismissIdle = (): void =>
    whenCalm(() => {
      if (over) return
      server.closeIdleConnections()
      timer = setTimeout(dismissIdle, idleCheckMs)
    })
  let timer = setTimeout(dismissIdle, farewell)
  await closed
  over = true
  clearTimeout(timer)
  await app.close()
}
