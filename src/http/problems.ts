import type { ErrorObject } from 'ajv'
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { AppError, type ErrorCode } from '../kernel/errors.ts'
import { fieldErrorsOf } from '../kernel/json-schema.ts'
import type { App } from './app.ts'

/** What Fastify calls its own refusals, in our words. Everything else below 500 counts as `validation_failed`. */
const fastifyCodes: Record<string, { code: ErrorCode; detail: string }> = {
  FST_ERR_CTP_INVALID_MEDIA_TYPE: {
    code: 'unsupported_media_type',
    detail: 'Send the body as application/json.',
  },
  FST_ERR_CTP_BODY_TOO_LARGE: {
    code: 'payload_too_large',
    detail: 'The request body is too large; send less at once.',
  },
  FST_ERR_CTP_INVALID_JSON_BODY: { code: 'validation_failed', detail: 'The body is not valid JSON.' },
}

/** Postgres refuses what no schema can: text with a zero byte, or bytes that are no UTF-8. */
const badText = new Set(['22021', '22P05'])
/** Cut off by the server: statement or idle timeout, lock timeout, deadlock, serialization. */
const tryAgain = new Set(['57014', '25P03', '55P03', '40P01', '40001'])
/** Gone, full, or not letting us in: shutting down, crashed, out of connections or disk, login refused, the connection itself. */
const unavailable = /^(57P0[1-5]|53...|08...|28...|3D000|ECONNREFUSED|ECONNRESET|EPIPE|ENOENT|ETIMEDOUT)$/
/** What pg and pg-pool say of lost connections: these errors carry no code (pg/lib/client.js, pg-pool/index.js). */
const lostConnection = /^Connection terminated|^Client (was closed|has encountered a connection error)/
/** All connections of the pool are taken. */
const poolIsFull = 'timeout exceeded when trying to connect'

const fromFastify = (error: FastifyError): AppError | undefined => {
  if (error.validation !== undefined) {
    const errors = fieldErrorsOf(error.validation as ErrorObject[])
    const first = errors[0]
    const where = error.validationContext ?? 'body'
    const detail =
      first === undefined ? 'The request is not valid.' : `${where}${first.path} ${first.message}.`
    return new AppError('validation_failed', detail, { errors, cause: error })
  }
  const known = fastifyCodes[error.code ?? '']
  if (known !== undefined) return new AppError(known.code, known.detail, { cause: error })
  const status = error.statusCode ?? 500
  if (status >= 400 && status < 500) {
    return new AppError('validation_failed', 'The request is not valid.', { cause: error })
  }
  return undefined
}

const fromDatabase = (error: unknown): AppError | undefined => {
  const { code, message } = (error ?? {}) as { code?: unknown; message?: unknown }
  const cause = error
  if (typeof code === 'string' && badText.has(code)) {
    return new AppError('validation_failed', 'The request holds text that cannot be stored.', { cause })
  }
  if (message === poolIsFull || (typeof code === 'string' && tryAgain.has(code))) {
    return new AppError('overloaded', 'The database was too busy; try again in a moment.', { cause })
  }
  if (typeof code === 'string' ? unavailable.test(code) : lostConnection.test(String(message))) {
    return new AppError('database_unavailable', 'The database cannot be reached; try again in a moment.', {
      cause,
    })
  }
  return undefined
}

/** Any error as the one that the caller gets to see. What is not meant for callers becomes `internal`. */
export const toAppError = (error: unknown): AppError => {
  if (error instanceof AppError) return error
  const known = error instanceof Error ? fromFastify(error as FastifyError) : undefined
  return (
    known ??
    fromDatabase(error) ??
    new AppError('internal', 'Something went wrong on our side; tell us the request id.', { cause: error })
  )
}

/** The error as its caller sees it (RFC 9457). */
export const problemBody = (error: AppError, requestId: string) => ({
  type: `urn:freehold:problem:${error.code}`,
  title: error.title,
  status: error.status,
  detail: error.message,
  code: error.code,
  requestId,
  ...(error.errors === undefined ? {} : { errors: error.errors }),
})

/** Answers with this error and logs what is our fault. */
export const sendProblem = (request: FastifyRequest, reply: FastifyReply, error: AppError): FastifyReply => {
  if (error.status >= 500) {
    request.log.error({ err: error }, 'the request failed')
  }
  if (error.retryAfter !== undefined) reply.header('retry-after', String(error.retryAfter))
  if (error.status === 401) reply.header('www-authenticate', 'Bearer')
  return reply
    .code(error.status)
    .type('application/problem+json')
    .serializer((body) => JSON.stringify(body))
    .send(problemBody(error, request.id))
}

/** Every error and every unknown address is answered as application/problem+json (RFC 9457). */
export const registerProblems = (app: App): void => {
  app.setErrorHandler((error, request, reply) => sendProblem(request, reply, toAppError(error)))
  app.setNotFoundHandler((request, reply) =>
    sendProblem(
      request,
      reply,
      new AppError('not_found', 'There is nothing at this address; see /docs for what there is.'),
    ),
  )
}
