/** Postgres writes a number out: what is six characters here would be three hundred there. */
const isShort = (value: number): boolean => {
  const size = Math.abs(value)
  return size === 0 || (size >= 1e-20 && size < 1e21)
}

/**
 * Why this value can't be kept in a database as JSON, or undefined when it can: a zero byte or half a character in a text or a
 * name, a number that is none or has too many digits, more than `maxDepth` levels. Never recurses, so no value can exhaust the
 * stack.
 */
export const whyNotStorable = (value: unknown, maxDepth: number): string | undefined => {
  const left: { part: unknown; depth: number }[] = [{ part: value, depth: 1 }]
  for (let next = left.pop(); next !== undefined; next = left.pop()) {
    const { part, depth } = next
    if (typeof part === 'string') {
      if (part.includes('\0') || !part.isWellFormed()) return 'holds text that cannot be stored'
    } else if (typeof part === 'number') {
      if (!isShort(part)) return 'holds a number of too many digits'
    } else if (typeof part === 'object' && part !== null) {
      if (depth > maxDepth) return `has more than ${maxDepth} levels`
      for (const [key, inner] of Object.entries(part)) {
        left.push({ part: key, depth }, { part: inner, depth: depth + 1 })
      }
    }
  }
  return undefined
}
