/** A look-up of a tenant takes a millisecond or two; who is kept for longer by a slow master loses what a head start gains. */
const longestMs = 25

/** Resolves when `begin` calls what it is handed, when it is over, or after 25 ms. Never rejects. */
export const headStart = (begin: (begun: () => void) => Promise<void>): Promise<void> => {
  const { promise, resolve } = Promise.withResolvers<void>()
  const timer = setTimeout(resolve, longestMs)
  const begun = (): void => {
    clearTimeout(timer)
    resolve()
  }
  begin(begun).then(begun, begun)
  return promise
}
