/** Like an AbortSignal, which it becomes only when someone has to wait: making one costs as much as a lease. */
export type LazySignal = {
  readonly aborted: boolean
  readonly reason: unknown
  toSignal(): AbortSignal
}

/** Those of these that there are, each as one that can be listened to. */
export const signalsOf = (...signals: (AbortSignal | LazySignal | undefined)[]): readonly AbortSignal[] =>
  signals.filter((s) => s !== undefined).map((s) => ('toSignal' in s ? s.toSignal() : s))

/** What `work` comes to, or the reason of the first signal that is aborted before. No listener is left behind. */
export const orAborted = async <T>(work: Promise<T>, signals: readonly AbortSignal[]): Promise<T> => {
  const { promise, reject } = Promise.withResolvers<never>()
  const onAbort = ({ target }: Event): void => reject((target as AbortSignal).reason)
  for (const signal of signals) signal.addEventListener('abort', onAbort)
  try {
    return await Promise.race([work, promise])
  } finally {
    for (const signal of signals) signal.removeEventListener('abort', onAbort)
  }
}
