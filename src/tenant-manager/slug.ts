import { randomInt } from 'node:crypto'
import { AppError } from '../kernel/errors.ts'
import { isUuid } from '../kernel/ids.ts'

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

/** A slug that resembles the name: `Müller & Söhne` becomes `muller-sohne`; what has no Latin letters becomes `tenant`. */
export const slugFromName = (name: string): string =>
  name
    .normalize('NFKD')
    .replace(/\p{M}/gu, '')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, 40)
    .replace(/^-+|-+$/g, '') || 'tenant'

/** The slug with five random letters behind it: 33 million to choose from. */
export const withRandomEnding = (slug: string): string =>
  `${slug}-${Array.from({ length: 5 }, () => letters[randomInt(letters.length)]).join('')}`
