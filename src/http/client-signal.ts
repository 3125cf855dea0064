import type { ServerResponse } from 'node:http'
import type { LazySignal } from '../connection-router/connection-router.ts'

const hungUp = (): Error => new Error('the client hung up')

/**
 * Aborted when the client is gone before its answer was sent. Fastify's `request.signal` is not that: it is aborted as
 * soon as a request's body has been read, because Node closes the incoming message then.
 */
export class ClientSignal implements LazySignal {
  readonly #answer: ServerResponse
  #controller: AbortController | undefined

  constructor(answer: ServerResponse) {
    this.#answer = answer
  }

  get aborted(): boolean {
    return this.#answer.destroyed && !this.#answer.writableFinished
  }

  get reason(): Error {
    return hungUp()
  }

  toSignal(): AbortSignal {
    if (this.#controller === undefined) {
      const controller = new AbortController()
      this.#controller = controller
      if (this.aborted) controller.abort(hungUp())
      this.#answer.once('close', () => {
        if (this.aborted) controller.abort(hungUp())
      })
    }
    return this.#controller.signal
  }
}
