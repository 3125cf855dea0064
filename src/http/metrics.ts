import { collectDefaultMetrics, Histogram, Registry } from 'prom-client'
import type { App } from './app.ts'

export type Metrics = { contentType: string; render(): Promise<string> }

/** From a memory look-up to the handler's timeout, in seconds. */
const buckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]

/** Prometheus metrics of this process, in a registry of its own: requests by route, and the process itself. */
export const registerMetrics = (app: App, addCollectors: (registry: Registry) => void): Metrics => {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const requests = new Histogram({
    name: 'freehold_http_request_duration_seconds',
    help: 'Time from the first byte of a request to the end of its answer',
    labelNames: ['method', 'route', 'status'],
    buckets,
    registers: [registry],
  })
  /** By status, method and route: to find a series by its labels costs more than to count in it. */
  const series = new Map<string, { observe(seconds: number): void }>()
  app.addHook('onResponse', ({ method, routeOptions }, reply, done) => {
    // The route's pattern keeps the number of series small; unknown addresses share one.
    const route = routeOptions.url ?? 'unknown'
    const name = `${reply.statusCode} ${method} ${route}`
    let counted = series.get(name)
    if (counted === undefined) {
      counted = requests.labels({ method, route, status: String(reply.statusCode) })
      series.set(name, counted)
    }
    counted.observe(reply.elapsedTime / 1000)
    done()
  })
  addCollectors(registry)
  return { contentType: registry.contentType, render: () => registry.metrics() }
}
