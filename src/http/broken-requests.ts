import type { Socket } from 'node:net'
import { AppError } from '../kernel/errors.ts'
import { newId } from '../kernel/ids.ts'
import { problemBody } from './problems.ts'
import type { Headers } from './security-headers.ts'

/** What Node's parser refuses has no request and no reply: only a code. */
const toAppError = (code: string | undefined): AppError => {
  switch (code) {
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new AppError('request_timeout', 'The request did not arrive in time; send it again.')
    case 'HPE_HEADER_OVERFLOW':
      return new AppError('headers_too_large', 'The request headers are too large; send less.')
    default:
      return new AppError('validation_failed', 'This is not a valid HTTP/1.1 request.')
  }
}

/** Answers what never became a request like every other mistake, then hangs up. */
export const answerBrokenRequest = (headers: Headers) => {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`)
  return (error: NodeJS.ErrnoException, socket: Socket): void => {
    if (error.code === 'ECONNRESET' || socket.destroyed) return
    const requestId = newId()
    const problem = toAppError(error.code)
    const body = JSON.stringify(problemBody(problem, requestId))
    const head = [
      `HTTP/1.1 ${problem.status} ${problem.title}`,
      `x-request-id: ${requestId}`,
      'content-type: application/problem+json',
      `content-length: ${Buffer.byteLength(body)}`,
      ...lines,
      'connection: close',
    ]
    if (socket.writable) socket.write(`${head.join('\r\n')}\r\n\r\n${body}`)
    socket.destroy(error)
  }
}
