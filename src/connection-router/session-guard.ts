/**
 * Statements that cannot leave anything behind in a session, by their first word. Everything else (set, reset, listen,
 * declare, prepare, discard, load, do, call, create, copy …) may, and the connection is not used again after it.
 */
const cleanFirstWords = new Set([
  ...[
    'select',
    'insert',
    'update',
    'delete',
    'merge',
    'with',
    'values',
    'table',
    'truncate',
    'lock',
    'notify',
  ],
  ...['begin', 'start', 'commit', 'end', 'rollback', 'abort', 'savepoint', 'release'],
])

/** What keeps state from inside a clean statement: session settings, session locks, temporary tables, the seed. */
const suspects =
  /set_config|pg_(?:try_)?advisory_(?!xact)|pg_temp|\binto\s+(?:temp|local|global)|setseed|dblink|lo_open|u&["']/i
const comments = /--|\/\*/
const setConfig = /set_config/gi
const localSetConfig = /\bset_config\s*\([^()]*,\s*true\s*\)/gi

/** Where the quoted text or comment that starts at `from` is over; `from` itself when none starts there. */
const endOfToken = (sql: string, from: number): number => {
  const two = sql.slice(from, from + 2)
  if (two === '--') {
    const end = sql.indexOf('\n', from)
    return end === -1 ? sql.length : end
  }
  if (two === '/*') return endOfComment(sql, from)
  const quote = sql[from]
  if (quote === "'" || quote === '"') {
    const escapes = quote === "'" && /(?:^|[^a-z0-9_$])e$/i.test(sql.slice(Math.max(0, from - 2), from))
    for (let i = from + 1; i < sql.length; i++) {
      if (escapes && sql[i] === '\\') i += 1
      else if (sql[i] === quote) return i + 1
    }
    return sql.length
  }
  const tag = /^\$(?:[a-z_\u0080-\uffff][a-z0-9_\u0080-\uffff]*)?\$/i.exec(sql.slice(from, from + 65))?.[0]
  if (tag === undefined || /[a-z0-9_$]/i.test(sql[from - 1] ?? '')) return from
  const end = sql.indexOf(tag, from + tag.length)
  return end === -1 ? sql.length : end + tag.length
}

/** Postgres nests block comments. */
const endOfComment = (sql: string, from: number): number => {
  let depth = 0
  for (let i = from; i < sql.length - 1; i++) {
    const two = sql.slice(i, i + 2)
    if (two !== '/*' && two !== '*/') continue
    depth += two === '/*' ? 1 : -1
    i += 1
    if (depth === 0) return i + 1
  }
  return sql.length
}

/** The statement with strings, quoted names and comments blanked out: what is left are its own words. */
export const ownWords = (sql: string): string => {
  let out = ''
  for (let i = 0; i < sql.length; ) {
    const end = /['"$/-]/.test(sql[i] ?? '') ? endOfToken(sql, i) : i
    out += end > i ? ' ' : sql[i]
    i = Math.max(end, i + 1)
  }
  return out
}

const startsClean = (words: string): boolean =>
  cleanFirstWords.has(/^[\s(]*([a-z]+)/i.exec(words)?.[1]?.toLowerCase() ?? '')

/** `set local`, `set transaction`, `set constraints` and the like end with their transaction. */
const endsWithTransaction = /^\s*set\s+(?:local\b|transaction\b|constraints\b)/i

/**
 * True when a statement may leave something in the session that outlives its transaction: a setting, a role, a
 * temporary table, a listener, a cursor, a prepared statement, an advisory lock. Errs on the side of true. It reads
 * one statement (the driver sends them so that the server refuses two), and does not see what a function does inside.
 */
export const leavesSessionState = (sql: string): boolean => {
  if (!suspects.test(sql) && !comments.test(sql) && startsClean(sql)) return false
  const words = ownWords(sql)
  if (endsWithTransaction.test(words)) return false
  if (!startsClean(words)) return true
  if (!suspects.test(sql) && !suspects.test(words)) return false
  // The one suspect that can be shown harmless: set_config(…, true) ends with the transaction. Each mention of it, in
  // quotes or not, must be of that form, and no other suspect may be in the text.
  const mentions = sql.match(setConfig)?.length ?? 0
  const local = words.match(localSetConfig)?.length ?? 0
  const others = [sql, words].some((text) => suspects.test(text.replace(setConfig, '')))
  return mentions !== local || others
}
