import type { FastifyReply } from 'fastify'
import { collectDefaultMetrics, Registry } from 'prom-client'
import type { App } from './app.ts'
import { type CountAnswer, RequestTimes } from './request-times.ts'

export type Metrics = { contentType: string; render(): Promise<string> }

/** Counts every answer, by a hook of each route that knows its route. Only for routes that are added later. */
const countAnswers = (app: App, times: RequestTimes): void => {
  const hook =
    (count: CountAnswer) =>
    (_request: unknown, reply: FastifyReply, done: () => void): void => {
      count(reply.statusCode, reply.elapsedTime / 1000)
      done()
    }
  app.addHook('onRoute', (route) => {
    const own = [route.onResponse ?? []].flat()
    // Every route here has one method; a list would be counted under all of its names.
    route.onResponse = [hook(times.route([route.method].flat().join(' '), route.url)), ...own]
  })
  const unknown = new Map<string, CountAnswer>()
  app.addHook('onResponse', (request, reply, done) => {
    if (!request.is404) return done()
    let count = unknown.get(request.method)
    if (count === undefined) {
      count = times.route(request.method, 'unknown')
      unknown.set(request.method, count)
    }
    return hook(count)(request, reply, done)
  })
}

/** Prometheus metrics of this process, in a registry of its own: requests by route, and the process itself. */
export const registerMetrics = (app: App, addCollectors: (registry: Registry) => void): Metrics => {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const times = new RequestTimes()
  times.register(registry)
  countAnswers(app, times)
  addCollectors(registry)
  return { contentType: registry.contentType, render: () => registry.metrics() }
}
