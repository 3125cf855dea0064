import { closeMessage, parseMessage } from './messages.ts'
import type { RowShape } from './row-shape.ts'

/** A statement that the server keeps prepared for this one connection. */
export type NamedStatement = {
  readonly name: string
  readonly text: string
  /** True when the server has confirmed it. Until then others send the text itself: this one may yet fail. */
  ready: boolean
  /** Known after the first answer. The server refuses to run a name whose result would have another shape. */
  shape: RowShape | undefined
}

/** The server keeps each plan in the memory of its session: some 10 KB each, so about 1 MB a connection. */
const maxNames = 100

/** The names of one connection. Names are never used twice; they end with the connection. */
export class NamedStatements {
  /** By text; the oldest first. */
  readonly #known = new Map<string, NamedStatement>()
  #made = 0
  /** Names that the server can forget; sent before the next statement. */
  #unwanted: string[] = []

  get size(): number {
    return this.#known.size
  }

  /** The prepared statement for this text, when it can be used now. */
  ready(text: string): NamedStatement | undefined {
    const known = this.#known.get(text)
    return known?.ready === true ? known : undefined
  }

  /** A new name for this text; undefined while another statement is about to prepare it. */
  prepare(text: string): NamedStatement | undefined {
    if (this.#known.has(text)) return undefined
    if (this.#known.size >= maxNames) {
      const oldest = this.#known.values().next().value
      if (oldest !== undefined) this.forget(oldest)
    }
    this.#made += 1
    const named = { name: `s${this.#made}`, text, ready: false, shape: undefined }
    this.#known.set(text, named)
    return named
  }

  /** Not to be used any more. Statements on their way keep it: the server reads in order. */
  forget(named: NamedStatement): void {
    if (this.#known.get(named.text) === named) this.#known.delete(named.text)
    if (named.ready) this.#unwanted.push(named.name)
  }

  /** The Parse for a statement, and what the server can forget before it. */
  parse(name: string, text: string): Buffer {
    if (this.#unwanted.length === 0) return parseMessage(name, text)
    const forgotten = this.#unwanted.map(closeMessage)
    this.#unwanted = []
    return Buffer.concat([...forgotten, parseMessage(name, text)])
  }
}
