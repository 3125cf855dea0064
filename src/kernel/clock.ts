/** The time as the code sees it. Passed in, so that a test can move it. */
export type Clock = { now(): Date }

export const systemClock: Clock = { now: () => new Date() }

/** Whole seconds since 1970, as JSON Web Tokens count (RFC 7519, NumericDate). */
export const epochSeconds = (clock: Clock): number => Math.floor(clock.now().getTime() / 1000)

/** The milliseconds since 1970, for those who ask all the time: the system's clock makes no Date for them. */
export const millisecondsOf = (clock: Clock): (() => number) =>
  clock === systemClock ? Date.now : () => clock.now().getTime()
