/** A function that is made when it is first called: `make` runs once, and again only if it threw. */
export const lazy = <A extends unknown[], R>(make: () => (...given: A) => R): ((...given: A) => R) => {
  let made: ((...given: A) => R) | undefined
  return (...given) => {
    made ??= make()
    return made(...given)
  }
}
