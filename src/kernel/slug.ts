import { randomInt } from 'node:crypto'
import { AppError } from './errors.ts'
import { isUuid } from './ids.ts'

/** The same rule as the master's own check on `tenants.slug`: it becomes part of host names. */
const slugPattern = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/

const letters = 'abcdefghijkmnpqrstuvwxyz23456789'

/** Throws `validation_failed` when the text can't be a slug. One that looks like an id would hide another tenant. */
export const checkSlug = (slug: string): string => {
  if (slugPattern.test(slug) && !isUuid(slug)) return slug
  throw new AppError(
    'validation_failed',
    'A slug has 1 to 63 lowercase letters, digits and hyphens, begins and ends with a letter or digit, and is not an id.',
    { errors: [{ path: '/slug', message: 'is not a slug' }] },
  )
}

/** A slug that resembles the name: `Müller & Söhne` becomes `muller-sohne`; what has no Latin letters becomes `otherwise`. */
export const slugFromName = (name: string, otherwise: string): string =>
  name
    .normalize('NFKD')
    .replace(/\p{M}/gu, '')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, 40)
    .replace(/^-+|-+$/g, '') || otherwise

/** The slug with five random letters behind it: 33 million to choose from. */
const withRandomEnding = (slug: string): string =>
  `${slug}-${Array.from({ length: 5 }, () => letters[randomInt(letters.length)]).join('')}`

/** Made slugs are tried so often: the first as it is, the others with a random ending. */
const attempts = 5

export const slugTaken = (slug: string): AppError =>
  new AppError('slug_taken', `The slug ${slug} is taken. Choose another one.`)

/**
 * Inserts under the wanted slug, or under the first free one that resembles `made`. `insert` answers undefined when the
 * slug is taken: a conflict must be no error there, which would end the transaction. Throws `slug_taken`.
 */
export const withFreeSlug = async <Row>(
  wanted: string | undefined,
  made: () => string,
  insert: (slug: string) => Promise<Row | undefined>,
): Promise<Row> => {
  const base = wanted ?? made()
  for (let attempt = 0; attempt < (wanted === undefined ? attempts : 1); attempt += 1) {
    const row = await insert(attempt === 0 ? base : withRandomEnding(base))
    if (row !== undefined) return row
  }
  throw slugTaken(base)
}
