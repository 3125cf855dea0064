import { readFile } from 'node:fs/promises'

/**
 * Reads the list of passwords that everybody tries first; where it comes from stands at its head. Answers whether a
 * password is on it, in whatever case.
 */
export const loadCommonPasswords = async (): Promise<(password: string) => boolean> => {
  const text = await readFile(new URL('common-passwords.txt', import.meta.url), 'utf8')
  // The head ends with an empty line.
  const passwords = new Set(text.slice(text.indexOf('\n\n') + 2).split('\n'))
  passwords.delete('')
  return (password) => passwords.has(password.toLowerCase())
}
