import type { PostgresAddress } from '../kernel/postgres-address.ts'
import { type CancelKey, requestCancel, serverAnswers } from './doorbell.ts'
import type { RouterCounters } from './stats.ts'
import type { AskAboutSession } from './surroundings.ts'
import { flush } from './wire/messages.ts'
import type { Pipeline } from './wire/pipeline.ts'
import { ticksIn } from './wire/watch.ts'

/** A statement that nobody waits for any more is left alone for this long: most are done before a cancel arrives. */
const cancelAfterTicks = ticksIn(100)
const cancelMs = 3_000
/** When everything shall end, each further statement is cancelled so long after the one before, give or take a tick. */
const cancelAgainTicks = ticksIn(25)
/** Silence with a statement in flight before we ask whether the server is still there, and how long it may think. */
const silenceTicks = ticksIn(1_200)
const probeMs = 1_200
/**
 * Where the server is there, it is asked what the session does: three times at most, as the first other connection may be lost
 * too. Two answers that it waits for us count, as its answer may just be on the way. At most 2.7 s in all.
 */
const [questions, questionMs, betweenQuestionsMs] = [3, 400, 500]
/** The server itself ends statements at their timeout. Who is still silent so long after that is gone. */
const graceMs = 2_000

/** What the overseer may do to the connection it looks after. */
export type Overseen = Readonly<{
  address: PostgresAddress
  statementTimeoutMs: number
  pipeline: Pipeline
  counters: RouterCounters
  askAboutSession: AskAboutSession
  /** Known after the login. */
  cancelKey(): CancelKey | undefined
  /** No new statements from now on, and closed when those in flight are done. */
  spoil(): void
  write(bytes: Buffer): void
  /** Bytes that have come so far, also those of a message that is not here as a whole. */
  bytesRead(): number
  die(cause: unknown): void
}>

/** Looks after the statements in flight on one connection: cancels what nobody waits for, notices a server that is gone. */
export class Overseer {
  readonly #connection: Overseen
  #cancelled = false
  #cancelsAll = false
  /** The tick of the last of those cancels. */
  #cancelledAt = 0
  /** The tick of the last probe. */
  #probedAt = 0
  #probing = false

  constructor(connection: Overseen) {
    this.#connection = connection
  }

  /** To be called every tick while something is in flight. */
  onTick(tick: number): void {
    const { pipeline, address, statementTimeoutMs, die } = this.#connection
    const { head, heardAt } = pipeline
    if (this.#cancelsAll && tick - this.#cancelledAt >= cancelAgainTicks) this.#cancel(tick)
    if (head?.owner?.aborted === true && tick - head.headSince >= cancelAfterTicks) this.#cancelAlone()
    // A unix socket ends with its server.
    const silent = tick - Math.max(heardAt, this.#probedAt)
    if (silent >= silenceTicks && !this.#probing && !address.host.startsWith('/')) this.#probe(tick)
    if (tick - heardAt >= ticksIn(statementTimeoutMs + graceMs)) {
      die(new Error('the server is silent past the statement timeout'))
    }
  }

  /** Cancels what is in flight, one after the other. Only for a connection on which nothing may go on. */
  cancelAll(): void {
    this.#cancelsAll = true
    this.#cancel(this.#cancelledAt)
  }

  /**
   * Cancels the statement in flight when it is the only one, so that nobody else's can be hit. The connection takes no
   * other ones from then on, because the request may arrive late.
   */
  #cancelAlone(): void {
    const { pipeline, spoil } = this.#connection
    spoil()
    if (this.#cancelled || pipeline.inFlight > 1) return
    this.#cancelled = true
    this.#cancel(0)
  }

  #cancel(tick: number): void {
    const { pipeline, address, counters, cancelKey } = this.#connection
    const key = cancelKey()
    if (key === undefined || pipeline.inFlight === 0) return
    this.#cancelledAt = tick
    counters.cancels += 1
    // In vain is no harm: the statement then ends by itself.
    requestCancel(address, key, cancelMs).catch(() => {})
  }

  /**
   * A server that was restarted answers our bytes with a reset; one that can't be reached does not answer a new
   * connection either. A server that is there and silent is busy with a long statement, unless the session waits for us: then
   * what one of us said was lost on the way, and so is the connection.
   */
  #probe(tick: number): void {
    const { pipeline, address, counters, write, bytesRead, die } = this.#connection
    const heard = bytesRead()
    this.#probedAt = tick
    this.#probing = true
    write(flush)
    const silent = (): boolean => bytesRead() === heard && pipeline.heardAt <= tick && pipeline.inFlight > 0
    const ask = async (): Promise<void> => {
      await serverAnswers(address, probeMs)
      if (await this.#isLost(silent)) throw new Error('the connection was lost on the way to the server')
    }
    ask()
      .catch((error: unknown) => {
        if (!silent()) return
        counters.halfOpen += 1
        die(error)
      })
      .finally(() => {
        this.#probing = false
      })
  }

  /** True when the session waits for us, and did half a second ago; then it is ended, with the locks that it holds. */
  async #isLost(silent: () => boolean): Promise<boolean> {
    const { cancelKey, askAboutSession } = this.#connection
    const processId = cancelKey()?.processId
    let andEnd = false
    for (let i = 0; processId !== undefined && silent() && i < questions; i += 1) {
      const waits = await askAboutSession({ processId, andEnd, timeoutMs: questionMs })
      if (waits === false) return false
      if (waits === true && andEnd) return true
      andEnd ||= waits === true
      await new Promise((resolve) => setTimeout(resolve, betweenQuestionsMs))
    }
    return false
  }
}
