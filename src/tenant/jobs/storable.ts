/** Deeper than anything that means something; recursion over it is safe. */
const maxDepth = 64

/**
 * Why this value can't be kept in the database as JSON, or undefined when it can: a zero byte or half a character in a
 * text, a number that is none, too many levels. Never recurses, so no value can exhaust the stack.
 */
export const whyNotStorable = (value: unknown): string | undefined => {
  const left: { part: unknown; depth: number }[] = [{ part: value, depth: 1 }]
  for (let next = left.pop(); next !== undefined; next = left.pop()) {
    const { part, depth } = next
    if (typeof part === 'string') {
      if (part.includes('\0') || !part.isWellFormed()) return 'holds text that cannot be stored'
    } else if (typeof part === 'number') {
      if (!Number.isFinite(part)) return 'holds a number that is too large'
    } else if (typeof part === 'object' && part !== null) {
      if (depth > maxDepth) return `has more than ${maxDepth} levels`
      for (const [key, inner] of Object.entries(part)) {
        left.push({ part: key, depth }, { part: inner, depth: depth + 1 })
      }
    }
  }
  return undefined
}
