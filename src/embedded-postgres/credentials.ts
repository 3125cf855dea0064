import { join } from 'node:path'
import { randomSecret } from '../kernel/crypto.ts'
import { OperatorError } from '../kernel/errors.ts'
import { keepPrivate, readSmallFile, writeFileDurably } from './files.ts'

/** The roles that every server of ours has; the tenants' roles come later, from the tenant manager. */
export const roles = ['postgres', 'freehold_master', 'freehold_provisioner'] as const
export type Role = (typeof roles)[number]
export type Credentials = Readonly<Record<Role, string>>

const credentialsFile = (dataDir: string): string => join(dataDir, 'postgres-credentials.json')

const parse = (text: string): Credentials | undefined => {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value !== 'object' || value === null) return undefined
    const found = new Map(Object.entries(value))
    const password = (role: Role): string => {
      const secret: unknown = found.get(role)
      if (typeof secret !== 'string' || !/^[\w-]{43}$/.test(secret))
        throw new TypeError('not a secret of ours')
      return secret
    }
    return {
      postgres: password('postgres'),
      freehold_master: password('freehold_master'),
      freehold_provisioner: password('freehold_provisioner'),
    }
  } catch {
    // The parser's message would quote a part of the file.
    return undefined
  }
}

/** The kept passwords, or undefined when there are none yet. Throws an OperatorError when the file is damaged. */
export const readCredentials = async (dataDir: string): Promise<Credentials | undefined> => {
  const path = credentialsFile(dataDir)
  const text = await readSmallFile(path)
  if (text === undefined) return undefined
  const credentials = parse(text)
  if (credentials === undefined) {
    throw new OperatorError(`${path} is damaged; restore it from a backup of the data folder`)
  }
  await keepPrivate(path)
  return credentials
}

/**
 * The passwords for a server. A new server gets new ones, on disk before anything uses them; a killed first start leaves
 * passwords without a server, and the next one takes those. A server without its passwords is an OperatorError.
 */
export const provideCredentials = async (dataDir: string, serverExists: boolean): Promise<Credentials> => {
  const kept = await readCredentials(dataDir)
  if (kept !== undefined) return kept
  const path = credentialsFile(dataDir)
  if (serverExists) {
    throw new OperatorError(
      `${path} is missing, and without it the database in ${join(dataDir, 'postgres')} cannot be opened; restore it from a backup of the data folder, or move the folder postgres away to begin empty`,
    )
  }
  const made: Credentials = {
    postgres: randomSecret(),
    freehold_master: randomSecret(),
    freehold_provisioner: randomSecret(),
  }
  await writeFileDurably(path, `${JSON.stringify(made, null, 2)}\n`, { mode: 0o600 })
  return made
}
