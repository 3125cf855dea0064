/** The mark of tenant number `index`, in every text of its database. It is also a slug. */
export const canaryOf = (index: number): string => `canary-${String(index).padStart(4, '0')}`

/** The same where only an id fits. */
export const canaryIdOf = (index: number): string =>
  `ca9a7000-0000-7000-8000-${String(index).padStart(12, '0')}`

const pattern = /canary-(\d{4})|ca9a7000-0000-7000-8000-(\d{12})/gi

/** The tenants whose marks are in this text, by number. */
export const canariesIn = (text: string): Set<number> => {
  const found = new Set<number>()
  for (const [, word, id] of text.matchAll(pattern)) found.add(Number(word ?? id))
  return found
}

/** Rows that every tenant has under the same ids. */
export const sharedRows = 8
export const sharedId = (row: number): string => `00000000-0000-7000-8000-${String(row).padStart(12, '0')}`
