import { InvalidArgumentError } from 'commander'
import { AppError } from '../src/kernel/errors.ts'
import { isUuid } from '../src/kernel/ids.ts'
import { checkSlug } from '../src/kernel/slug.ts'

/** Readers of what is typed: each returns the value, or throws what commander prints as wrong use. */

export const slug = (text: string): string => {
  try {
    return checkSlug(text)
  } catch (error) {
    throw error instanceof AppError ? new InvalidArgumentError(error.message) : error
  }
}

export const email = (text: string): string => {
  const address = text.trim()
  if (address.length > 254 || !/^[^\s@<>()",;:\\]+@[^\s@<>()",;:\\]+\.[^\s@.]+$/.test(address)) {
    throw new InvalidArgumentError('Give an email address like ada@example.com.')
  }
  return address.toLowerCase()
}

/** One line of text with at most `longest` characters. */
export const line =
  (longest: number) =>
  (text: string): string => {
    const trimmed = text.trim()
    if (trimmed === '' || [...trimmed].length > longest || /\p{Cc}/u.test(trimmed)) {
      throw new InvalidArgumentError(`Give one line of 1 to ${longest} characters.`)
    }
    return trimmed
  }

export const wholeNumber =
  (least: number, most: number) =>
  (text: string): number => {
    const value = Number(text)
    if (!/^\d+$/.test(text) || value < least || value > most) {
      throw new InvalidArgumentError(`Give a whole number from ${least} to ${most}.`)
    }
    return value
  }

export const id = (text: string): string => {
  if (!isUuid(text)) throw new InvalidArgumentError('Give the nextCursor of the page before.')
  return text
}
