import { readText } from './statement-texts.ts'
import type { Pipeline } from './wire/pipeline.ts'
import { Statement } from './wire/statement.ts'

/** `current_catalog` is the database, and needs no look-up of a function. */
const question = 'select current_catalog as database, current_user as role, session_user as login'

/** What a connection reached. */
export type Reached = { database: string; role: string; login: string }

/** The question whose database a new connection reached, asked once. */
export class IdentityQuestion {
  readonly #pipeline: Pipeline
  #statement: Statement | undefined

  constructor(pipeline: Pipeline) {
    this.#pipeline = pipeline
  }

  /** With the last word of the login where that can be, as each answer that is waited for takes its time. */
  ask(): Statement {
    if (this.#statement !== undefined) return this.#statement
    const statement = new Statement(readText(question), [], undefined)
    // Nobody waits for it when the login fails.
    statement.promise.catch(() => {})
    this.#pipeline.send(statement, false)
    this.#pipeline.flush()
    this.#statement = statement
    return statement
  }

  async answer(): Promise<Reached | undefined> {
    const { rows } = await this.ask().promise
    return rows[0] as Reached | undefined
  }
}
