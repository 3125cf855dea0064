const zero = 0x30
const [dash, colon, space, plus, dot] = [0x2d, 0x3a, 0x20, 0x2b, 0x2e]

/** Two digits; NaN where there are none. */
const two = (text: string, at: number): number => {
  const [tens, ones] = [text.charCodeAt(at) - zero, text.charCodeAt(at + 1) - zero]
  return tens >= 0 && tens <= 9 && ones >= 0 && ones <= 9 ? tens * 10 + ones : Number.NaN
}

/** `1234`, of at most six digits after the point, in whole milliseconds. */
const milliseconds = (text: string, from: number, to: number): number => {
  let value = 0
  for (let i = 0; i < 3; i++) {
    const digit = from + i < to ? text.charCodeAt(from + i) - zero : 0
    if (digit < 0 || digit > 9) return Number.NaN
    value = value * 10 + digit
  }
  return value
}

/**
 * A `timestamptz` as PostgreSQL writes nearly all of them when its sessions are in UTC: `2026-01-31 23:59:59.123456+00`.
 * Undefined for every other form (other zones, years beyond four digits, BC, infinity): those are the driver's to read,
 * which takes four times as long for them all. Microseconds are cut off, as the driver does.
 */
export const readTimestamp = (text: string): Date | undefined => {
  const { length } = text
  const end = length - 3
  if (end < 19 || end > 26 || text.charCodeAt(end) !== plus || two(text, end + 1) !== 0) return undefined
  if (text.charCodeAt(4) !== dash || text.charCodeAt(7) !== dash || text.charCodeAt(10) !== space)
    return undefined
  if (text.charCodeAt(13) !== colon || text.charCodeAt(16) !== colon) return undefined
  if (end > 19 && text.charCodeAt(19) !== dot) return undefined
  const century = two(text, 0)
  // Date.UTC takes years before 100 for the 1900s.
  if (century === 0) return undefined
  const date = Date.UTC(
    century * 100 + two(text, 2),
    two(text, 5) - 1,
    two(text, 8),
    two(text, 11),
    two(text, 14),
    two(text, 17),
    end > 20 ? milliseconds(text, 20, end) : 0,
  )
  return Number.isNaN(date) ? undefined : new Date(date)
}
