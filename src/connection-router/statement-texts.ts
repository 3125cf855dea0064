import { LRUCache } from 'lru-cache'
import { leavesSessionState, ownWords } from './session-guard.ts'

/** What is known of one text of SQL: read off it once, and learned from its runs. */
export type StatementText = {
  readonly sql: string
  /** It may leave something in the session: its connection serves nobody else after it. */
  readonly leavesState: boolean
  /** It may run beside other statements on a shared connection: a plain read or write that leaves nothing. */
  readonly shareable: boolean
  /** A read that can be run twice without anyone noticing. */
  readonly repeatable: boolean
  /**
   * How long the server takes for it: a moving average, in ticks of the watch. Most statements take far less than a
   * tick, and the average is how often one passed meanwhile. A text that never ran counts as long, so nothing is sent
   * behind it until it is answered.
   */
  cost: number
  /** Seen before: preparing it under a name will pay. */
  worthNaming: boolean
}

/** The texts of a whole product are some hundreds; what is generated with lists of values comes and goes. */
const maxTexts = 5_000
/** 16 million characters of SQL at most, whatever the number of texts. */
const maxCharacters = 16_000_000

const plainFirstWords = new Set(['select', 'insert', 'update', 'delete', 'merge', 'with', 'values', 'table'])
const firstWord = /^[\s(]*([a-z]+)/i

/** One run counts for so many ticks at most, so that one wait for a lock does not mark a quick text for long. */
const mostTicks = 8
const unknownCost = 1_000

/** Learns from one run, which took so many ticks. */
export const learnCost = (text: StatementText, ticks: number): void => {
  const seen = Math.min(ticks, mostTicks)
  text.cost = text.cost === unknownCost ? seen : text.cost + (seen - text.cost) / 8
}

/** Words that may stand before a parenthesis in a repeatable read: syntax, and functions that only compute. */
const harmlessCalls = new Set([
  ...[
    'select',
    'from',
    'where',
    'and',
    'or',
    'not',
    'in',
    'on',
    'as',
    'any',
    'all',
    'some',
    'exists',
    'values',
  ],
  ...[
    'join',
    'by',
    'when',
    'then',
    'else',
    'union',
    'except',
    'intersect',
    'using',
    'having',
    'lateral',
    'array',
  ],
  ...[
    'count',
    'sum',
    'min',
    'max',
    'avg',
    'coalesce',
    'nullif',
    'greatest',
    'least',
    'lower',
    'upper',
    'length',
  ],
  ...[
    'now',
    'date_trunc',
    'row_number',
    'json_agg',
    'jsonb_agg',
    'to_json',
    'to_jsonb',
    'over',
    'filter',
    'row',
  ],
  ...[
    'json_build_object',
    'jsonb_build_object',
    'concat',
    'substring',
    'trim',
    'abs',
    'round',
    'cast',
    'extract',
  ],
])
/** A whole name before a parenthesis; the look-behind keeps it from being tried from each of its letters. */
const calls = /(?<![.\w$\u0080-\uffff])([.\w$\u0080-\uffff]+)\s*\(/g
const locksOrMakes = /\bfor\s+(?:no\s+key\s+)?(?:update|key|share)\b|\binto\b|\bu&/i
/** A quoted name that is called may be any function. */
const quotedCall = /"\s*\(/

/**
 * True for a `select` that takes no locks, makes nothing, and calls only functions known to change nothing. Errs on the
 * side of false. Views and operators of the tenant's own are taken for harmless.
 */
export const isRepeatable = (sql: string): boolean => {
  const words = ownWords(sql)
  if (firstWord.exec(words)?.[1]?.toLowerCase() !== 'select') return false
  if (locksOrMakes.test(words) || quotedCall.test(sql)) return false
  for (const [, name = ''] of words.matchAll(calls)) {
    if (!harmlessCalls.has(name.toLowerCase())) return false
  }
  return true
}

/** What can be read off a text. Throws when it holds a zero byte. */
export const readText = (sql: string): StatementText => {
  // A zero byte would end the text early, and the server would read the rest as something else.
  if (sql.includes('\0')) throw new TypeError('a statement cannot hold a zero byte')
  const leavesState = leavesSessionState(sql)
  const word = firstWord.exec(ownWords(sql))?.[1]?.toLowerCase() ?? ''
  const shareable = !leavesState && plainFirstWords.has(word)
  return {
    ...{ sql, leavesState, shareable },
    repeatable: shareable && isRepeatable(sql),
    cost: unknownCost,
    worthNaming: false,
  }
}

/** The texts that were run lately, over all tenants: the product's statements are the same in every database. */
export class StatementTexts {
  readonly #texts = new LRUCache<string, StatementText>({
    max: maxTexts,
    maxSize: maxCharacters,
    sizeCalculation: (text) => text.sql.length + 1,
  })

  /** What is known of this text. Throws when it holds a zero byte. */
  of(sql: string): StatementText {
    const known = this.#texts.get(sql)
    if (known !== undefined) {
      known.worthNaming = true
      return known
    }
    const text = readText(sql)
    this.#texts.set(sql, text)
    return text
  }
}
