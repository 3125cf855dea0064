/** The time as the code sees it. Passed in, so that a test can move it. */
export type Clock = { now(): Date }

export const systemClock: Clock = { now: () => new Date() }

/** Whole seconds since 1970, as JSON Web Tokens count (RFC 7519, NumericDate). */
export const epochSeconds = (clock: Clock): number => Math.floor(clock.now().getTime() / 1000)
