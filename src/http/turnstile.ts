/**
 * Lets callers through one by one, each in a turn of the event loop of its own. Two hundred requests that come at one moment
 * would else be begun in one turn, for which all others wait a tenth of a second (`bench/logins.ts`).
 */
export const createTurnstile = (): (() => Promise<void>) => {
  const waiting: (() => void)[] = []
  let turning = false
  const turn = (): void => {
    const next = waiting.shift()
    turning = next !== undefined
    if (next === undefined) return
    next()
    setImmediate(turn)
  }
  return () =>
    new Promise((resolve) => {
      waiting.push(resolve)
      if (turning) return
      turning = true
      setImmediate(turn)
    })
}
