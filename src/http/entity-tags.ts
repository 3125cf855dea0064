import type { FastifyReply, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { sha256 } from '../kernel/crypto.ts'
import { AppError } from '../kernel/errors.ts'

/** `*`, or entity tags with commas between them (RFC 9110, 8.8.3). */
const listPattern = '^(\\*|(W/)?"[!#-~]*"( ?, ?(W/)?"[!#-~]*")*)$'

const tagList = (description: string) =>
  Type.Optional(Type.String({ maxLength: 1000, pattern: listPattern, description }))

/** The headers of a route that changes one thing which has an ETag. */
export const IfMatch = Type.Object({
  'if-match': tagList(
    'The ETag of what you have read: when somebody has changed it since, nothing happens and the answer is 412.',
  ),
})

/** The headers of a route that shows one thing. */
export const IfNoneMatch = Type.Object({
  'if-none-match': tagList(
    'The ETag of what you have: when that is still so, the answer is 304, without a body.',
  ),
})

/**
 * The strong entity tag of what an answer shows: a hash of it. A version number would be shorter, but a tenant's database
 * that is restored from a backup counts from there again.
 */
export const etagOf = (view: unknown): string =>
  `"${sha256(JSON.stringify(view)).toString('base64url').slice(0, 22)}"`

const tagsOf = (header: string): string[] => header.match(/(W\/)?"[^"]*"/g) ?? []

/** Throws `precondition_failed` when the request was meant for another state of the thing than `current`. */
export const mustMatch = ({ headers }: Pick<FastifyRequest, 'headers'>, current: unknown): void => {
  const wanted = headers['if-match']
  // A weak tag never matches here (RFC 9110, 13.1.1).
  if (wanted === undefined || wanted === '*' || tagsOf(wanted).includes(etagOf(current))) return
  throw new AppError(
    'precondition_failed',
    'It was changed since you have read it: read it again, then send your change with the new ETag.',
  )
}

/** Answers with what one thing looks like and its ETag, or with 304 when the caller has just that. */
export const answerWithTag = <View>(
  request: FastifyRequest,
  reply: FastifyReply,
  view: View,
): View | FastifyReply => {
  const tag = etagOf(view)
  reply.header('etag', tag)
  const known = request.headers['if-none-match']
  const same =
    known === '*' || (known !== undefined && tagsOf(known).some((one) => one.replace('W/', '') === tag))
  if (request.method !== 'GET' || !same) return view
  return reply.code(304).send()
}
