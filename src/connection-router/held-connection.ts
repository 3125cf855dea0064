import type { CompiledQuery } from 'kysely'
import type { StatementTexts } from './statement-texts.ts'
import type { TenantConnection } from './tenant-connection.ts'
import { Statement, type StatementOwner, type StatementResult } from './wire/statement.ts'

/** What holding needs of the lease: who owns the statements, and whether it may still work. */
export type Holder = StatementOwner & {
  readonly texts: StatementTexts
  /** Ends the wait for a connection. */
  readonly signal: AbortSignal | undefined
  /** Throws when the lease was released or aborted. */
  assertHeld(): void
}

/** One connection in the hands of one caller: a transaction, a stream, or a statement that needs its own. */
export class HeldConnection {
  readonly #holder: Holder
  readonly #giveBack: () => void
  #connection: TenantConnection | undefined

  constructor(holder: Holder, connection: TenantConnection, giveBack: () => void) {
    this.#holder = holder
    this.#connection = connection
    this.#giveBack = giveBack
  }

  /** Runs one statement here. Throws as `TenantConnection.run` fails it, and when the lease is over. */
  async run(sql: string, parameters: readonly unknown[] = []): Promise<StatementResult> {
    this.#holder.assertHeld()
    return this.#send(sql, parameters, this.#holder)
  }

  async commit(): Promise<void> {
    this.#holder.assertHeld()
    const { command } = await this.#send('commit', [], this.#holder)
    // After a failed statement that nobody minded, Postgres answers COMMIT with a rollback.
    if (command === 'ROLLBACK')
      throw new Error('The transaction was rolled back: a statement in it had failed.')
  }

  /** Never throws: a connection that can't roll back is closed, and then the server rolls back. */
  async rollback(): Promise<void> {
    // Also when the lease is over, and not to be cancelled with it.
    await this.#send('rollback', [], undefined).catch(() => this.#connection?.spoil())
  }

  /** Runs what this room itself has written and cleans up after: it leaves nothing behind. */
  async runOwn(
    sql: string,
    leavesState: boolean,
    parameters: readonly unknown[] = [],
  ): Promise<StatementResult> {
    this.#holder.assertHeld()
    const text = { sql, leavesState, shareable: false, repeatable: false, cost: 0, worthNaming: false }
    return this.#run(new Statement(text, parameters, this.#holder))
  }

  /** True when statements of this text may leave something in the session. */
  leavesState(sql: string): boolean {
    return this.#holder.texts.of(sql).leavesState
  }

  giveBack(): void {
    if (this.#connection === undefined) return
    this.#connection = undefined
    this.#giveBack()
  }

  #send(
    sql: string,
    parameters: readonly unknown[],
    owner: StatementOwner | undefined,
  ): Promise<StatementResult> {
    return this.#run(new Statement(this.#holder.texts.of(sql), parameters, owner))
  }

  #run(statement: Statement): Promise<StatementResult> {
    if (this.#connection === undefined) throw new Error('The connection was already given back.')
    this.#connection.run(statement)
    return statement.promise
  }
}

/** Cursors of nested streams in one transaction need names of their own. */
let cursors = 0

/**
 * The rows of a query in chunks, inside a transaction: of a select through a cursor on the server, so that only a chunk
 * of them is in memory; of anything else all at once.
 */
export async function* readAll(
  held: HeldConnection,
  { sql, parameters, query }: CompiledQuery,
  chunkSize: number,
): AsyncGenerator<unknown[]> {
  if (query.kind !== 'SelectQueryNode') {
    yield (await held.run(sql, parameters)).rows
    return
  }
  const rows = Math.max(1, Math.floor(chunkSize))
  cursors += 1
  const cursor = `freehold_${cursors}`
  const leavesState = held.leavesState(sql)
  await held.runOwn(`declare ${cursor} no scroll cursor for ${sql}`, leavesState, parameters)
  for (;;) {
    const chunk = await held.runOwn(`fetch forward ${rows} from ${cursor}`, leavesState)
    if (chunk.rows.length > 0) yield chunk.rows
    if (chunk.rows.length < rows) break
  }
  await held.runOwn(`close ${cursor}`, leavesState)
}
