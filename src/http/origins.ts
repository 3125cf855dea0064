import type { FastifyRequest } from 'fastify'
import { AppError } from '../kernel/errors.ts'
import { isLoopbackHost } from '../kernel/origins.ts'

/** Throws `forbidden` when a browser says that a page from elsewhere had this request sent. */
export type RefuseForeignPages = (request: FastifyRequest) => void

/**
 * Lets pages of `publicUrl` and of `others` through. Browsers name the page's origin on every request that can change
 * something, and no page can change what they say; what is no browser says nothing, and has no cookies that a page could
 * abuse. Programs pass: this is the second wall, not the first (see docs/decisions/0016-cookie-mode.md).
 */
export const createOriginCheck = (publicUrl: string, others: readonly string[]): RefuseForeignPages => {
  const address = new URL(publicUrl)
  const own = new Set([address.origin, ...others])
  /** Where PORT=0 lets the system choose, the address is known to the caller only. */
  const isWhereAsked = (origin: string, host = ''): boolean =>
    address.port === '0' && origin === `http://${host}` && isLoopbackHost(URL.parse(origin)?.hostname ?? '')
  return ({ headers }) => {
    const { origin, 'sec-fetch-site': site = 'same-origin' } = headers
    if (origin === undefined ? site === 'same-origin' || site === 'none' : own.has(origin)) return
    if (origin !== undefined && isWhereAsked(origin, headers.host)) return
    throw new AppError(
      'forbidden',
      'With cookies only pages of PUBLIC_URL, and of the origins in CORS_ORIGINS, may ask for this.',
    )
  }
}
