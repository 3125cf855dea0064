import { AppError } from '../kernel/errors.ts'
import type { App } from './app.ts'

/** Bodies are JSON in UTF-8 (RFC 8259, 8.1) and nothing else; what says otherwise is refused before it is read. */
const jsonInUtf8 = /^application\/json\s*(;\s*charset="?utf-8"?\s*)?$/i

/**
 * Reads bodies. Bytes that are no UTF-8 are refused, never replaced. An empty body is none, whatever its type says: many
 * clients name a type on every request; the route's schema says whether it wants a body.
 */
export const registerBodyParser = (app: App): void => {
  const parseJson = app.getDefaultJsonParser('error', 'error')
  const utf8 = new TextDecoder('utf-8', { fatal: true })
  app.removeAllContentTypeParsers()
  app.addContentTypeParser(jsonInUtf8, { parseAs: 'buffer' }, (request, body: Buffer, done) => {
    if (body.byteLength === 0) return done(null, undefined)
    let text: string
    try {
      text = utf8.decode(body)
    } catch (cause) {
      return done(new AppError('validation_failed', 'The body is not valid UTF-8.', { cause }))
    }
    return parseJson(request, text, done)
  })
}
