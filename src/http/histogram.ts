import type { Metric, Registry } from 'prom-client'

/**
 * Observations with the same labels: `counts[i]` were at most `bounds[i]` and more than the bound before, `count` is of all,
 * also those above every bound.
 */
export type Series = {
  readonly labels: Readonly<Record<string, string>>
  readonly bounds: readonly number[]
  readonly counts: readonly number[]
  readonly count: number
  readonly sum: number
}

const valuesOf = (name: string, { labels, bounds, counts, count, sum }: Series) => {
  let below = 0
  const buckets = bounds.map((bound, i) => {
    below += counts[i] ?? 0
    return { metricName: `${name}_bucket`, labels: { le: String(bound), ...labels }, value: below }
  })
  return [
    ...buckets,
    { metricName: `${name}_bucket`, labels: { le: '+Inf', ...labels }, value: count },
    { metricName: `${name}_sum`, labels, value: sum },
    { metricName: `${name}_count`, labels, value: count },
  ]
}

/** Shows what somebody else has counted as a histogram, read when it is asked for. */
export const registerHistogram = (
  registry: Registry,
  { name, help }: { name: string; help: string },
  series: () => readonly Series[],
): void => {
  const metric = {
    name,
    reset: () => {},
    get: () =>
      Promise.resolve({
        ...{ name, help, type: 'histogram', aggregator: 'sum' },
        values: series().flatMap((one) => valuesOf(name, one)),
      }),
  }
  // The registry asks no more of a metric than this; the type is of prom-client's own classes.
  registry.registerMetric(metric as unknown as Metric)
}
