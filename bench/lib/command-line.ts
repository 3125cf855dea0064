import { parseArgs } from 'node:util'

/** A number of rounds, requests or the like as it was given. Throws unless it is whole and at least 1: nothing measured would look kept. */
export const countOf = (given: string, what: string): number => {
  const count = Number(given)
  if (!Number.isSafeInteger(count) || count < 1)
    throw new RangeError(`${what} must be a whole number of at least 1, not '${given}'`)
  return count
}

/**
 * The numbers that a command takes one after another, or the usual ones where it was given fewer. Throws on what is no number, on
 * more of them than there are, and on any option but `--write` where that is taken.
 */
export const countsGiven = <Name extends string>(
  usual: Readonly<Record<Name, number>>,
  { write = false } = {},
): Record<Name, number> & { write: boolean } => {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: write ? { write: { type: 'boolean' } } : {},
  })
  const names = Object.keys(usual)
  const tooMany = positionals[names.length]
  if (tooMany !== undefined) throw new RangeError(`'${tooMany}' is one too many`)
  const given = positionals.map((text, i) => [names[i], countOf(text, names[i] ?? '')])
  return { ...usual, ...Object.fromEntries(given), write: values.write === true }
}
