import { type Agent, type IncomingMessage, request } from 'node:http'
import { text } from 'node:stream/consumers'

export type Question = Readonly<{
  url: string
  token: string
  agent: Agent
  method?: string
  body?: unknown
  signal?: AbortSignal
}>

export type Answer = Readonly<{ status: number; retryAfter: number; body: string }>

/** One HTTP request over a connection of the agent. Rejects when there is no answer. */
export const ask = async ({ url, token, agent, method = 'GET', body, signal }: Question): Promise<Answer> => {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
  const headers = {
    authorization: `Bearer ${token}`,
    ...(body === undefined ? {} : { 'content-type': 'application/json' }),
  }
  request(url, { method, agent, headers, ...(signal === undefined ? {} : { signal }) }, resolve)
    .on('error', reject)
    .end(body === undefined ? undefined : JSON.stringify(body))
  const response = await promise
  const retryAfter = Number(response.headers['retry-after'] ?? 0)
  return { status: response.statusCode ?? 0, retryAfter, body: await text(response) }
}

/** Such as ECONNREFUSED; an error's own words when it has no code. */
export const codeOf = (error: unknown): string => {
  const { code, message } = (error ?? {}) as { code?: string; message?: string }
  return code ?? message ?? String(error)
}

export const quantile = (values: readonly number[], part: number): number =>
  values.toSorted((a, b) => a - b)[Math.max(0, Math.ceil(values.length * part) - 1)] ?? Number.NaN
