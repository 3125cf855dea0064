import { AppError } from '../../kernel/errors.ts'

/** Long enough for any page; the sealed cookie it travels in must stay below 4 kB. */
export const maxReturnTo = 1500

const refused = (): AppError =>
  new AppError(
    'validation_failed',
    'returnTo must be a path such as /welcome, or an address at an origin in RETURN_ORIGINS, without #.',
    { errors: [{ path: '/returnTo', message: 'is not a place that people may be sent to' }] },
  )

/**
 * The full address to send somebody back to: a path on our own origin, or an address at one of `origins`. What is checked
 * is what is answered, in the one spelling that browsers read: they take `\` for `/`, and skip tabs and line breaks. Throws
 * `validation_failed`.
 */
export const readReturnTo = (text: string, publicUrl: string, origins: readonly string[]): string => {
  const own = new URL(publicUrl).origin
  const isPath = /^\/(?![/\\])/.test(text)
  if (!isPath && !/^https?:\/\/[^/\\]/i.test(text)) throw refused()
  if (/[\\#\s\p{C}]/u.test(text)) throw refused()
  const url = URL.parse(text, own)
  const allowed = url !== null && (url.origin === own || (!isPath && origins.includes(url.origin)))
  if (!allowed || url.username + url.password !== '' || url.href.length > maxReturnTo) throw refused()
  return url.href
}
