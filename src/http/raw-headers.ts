import type { FastifyRequest } from 'fastify'

/** How many headers of this name, in lower case, a request has; empty ones too. Node shows only one of some, others joined. */
export const countHeaders = (request: FastifyRequest, name: string): number => {
  const raw = request.raw.rawHeaders
  let headers = 0
  for (let i = 0; i < raw.length; i += 2) {
    if (raw[i]?.length === name.length && raw[i]?.toLowerCase() === name) headers += 1
  }
  return headers
}
