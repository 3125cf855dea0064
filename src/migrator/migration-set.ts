import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { sha256 } from '../kernel/crypto.ts'

/** One numbered, immutable SQL file. `expand` only adds; `contract` takes away what no running code uses any more. */
export type Migration = { name: string; kind: 'expand' | 'contract'; sql: string; checksum: string }

/** All migrations of one kind of database, in order. `hash` changes with any name or byte of the set. */
export type MigrationSet = { migrations: readonly Migration[]; latest: string; hash: string }

const fileName = /^\d{4}_[a-z0-9_]+\.sql$/

/** Reads a folder of migrations. Throws when a name, a number or a first line is not as it must be. */
export const readMigrationSet = async (folder: string): Promise<MigrationSet> => {
  const names = (await readdir(folder)).filter((name) => name.endsWith('.sql')).sort()
  const migrations = await Promise.all(
    names.map(async (file, index): Promise<Migration> => {
      if (!fileName.test(file) || Number(file.slice(0, 4)) !== index + 1) {
        throw new Error(
          `migration ${file} must be named like ${String(index + 1).padStart(4, '0')}_what_it_does.sql`,
        )
      }
      const sql = await readFile(join(folder, file), 'utf8')
      const kind = /^-- (expand|contract): ./.exec(sql)?.[1]
      if (kind !== 'expand' && kind !== 'contract') {
        throw new Error(`migration ${file} must begin with "-- expand: …" or "-- contract: …"`)
      }
      return { name: file.slice(0, -4), kind, sql, checksum: sha256(sql).toString('hex') }
    }),
  )
  const latest = migrations.at(-1)?.name
  if (latest === undefined) throw new Error('a migration set needs at least one migration')
  const hash = sha256(migrations.map((m) => `${m.name} ${m.checksum}\n`).join('')).toString('hex')
  return { migrations, latest, hash }
}
