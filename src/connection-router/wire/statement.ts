import type { StatementText } from '../statement-texts.ts'
import type { NamedStatement } from './named-statements.ts'
import type { RowShape } from './row-shape.ts'

/** `command` is the word the server answered with, e.g. INSERT. */
export type StatementResult<R = unknown> = { command: string; rowCount: number | null; rows: R[] }

/** On whose behalf a statement runs. */
export type StatementOwner = {
  readonly tenantId: string
  /** True when nobody waits for the answer any more. */
  readonly aborted: boolean
  /** Why, when it is. */
  readonly reason: unknown
  /** Runs a plain read again, or fails it with this error. Never throws. */
  rescue(statement: Statement, error: unknown): Promise<void>
}

/** One statement from the moment it is asked for until it is answered. */
export class Statement {
  readonly text: StatementText
  readonly parameters: readonly unknown[]
  readonly owner: StatementOwner | undefined
  readonly promise: Promise<StatementResult>
  #resolve: (result: StatementResult) => void = () => {}
  #reject: (error: unknown) => void = () => {}
  /** A plain read: when its connection dies before it answered, it may run once more on another one. */
  rescuable = false
  /** How often it was sent, but for what was no try. */
  sent = 0
  /** When a connection first died under it, in monotonic milliseconds. */
  lostAt: number | undefined
  named: NamedStatement | undefined
  shape: RowShape | undefined
  rows: unknown[] = []
  command = ''
  rowCount: number | null = null
  error: unknown
  /** When it was sent, and when it became the oldest in flight; in ticks of the watch. */
  sentAt = 0
  headSince = 0
  /** The number of the write that took it to the socket. */
  batch = 0
  /** What was thought of its text when it was sent. */
  cost = 0
  next: Statement | undefined

  constructor(text: StatementText, parameters: readonly unknown[], owner: StatementOwner | undefined) {
    this.text = text
    this.parameters = parameters
    this.owner = owner
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
  }

  /** Forgets what an earlier attempt was answered. */
  restart(): void {
    this.named = undefined
    this.shape = undefined
    this.rows = []
    this.command = ''
    this.rowCount = null
    this.error = undefined
    this.next = undefined
  }

  succeed(): void {
    this.#resolve({ command: this.command, rowCount: this.rowCount, rows: this.rows })
  }

  fail(error: unknown): void {
    this.#reject(error)
  }
}
