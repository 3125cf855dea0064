/** Headers by name. */
export type Headers = Readonly<Record<string, string>>

/** A year; without subdomains, which may be somebody else's to decide. */
const strictTransport = 'max-age=31536000'

/**
 * What every answer carries, whatever it is and whoever made it; a route may say otherwise of caching, and a page of its
 * content. Answers are data: no browser is to run, guess, frame, embed or keep them. HSTS (RFC 6797) only where people come
 * by TLS.
 */
export const securityHeaders = (publicUrl: string): Headers => ({
  'x-content-type-options': 'nosniff',
  'cache-control': 'no-store',
  'referrer-policy': 'no-referrer',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  ...(new URL(publicUrl).protocol === 'https:' ? { 'strict-transport-security': strictTransport } : {}),
})
