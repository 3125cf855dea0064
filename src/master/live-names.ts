import { sql } from 'kysely'
import { sha256 } from '../kernel/crypto.ts'
import type { MasterDb } from './master.ts'

/**
 * A name's key among Postgres' advisory locks: 64 bits, so that two names never meet by accident. A session that holds the
 * lock says so to all the others for as long as it lives, however it ends.
 */
export const lockKey = (name: string): string => sha256(`freehold ${name}`).readBigInt64BE().toString()

/** Those of `names` that some session of this master holds right now, alone or shared. */
export const whichHeld = async (db: MasterDb, names: readonly string[]): Promise<Set<string>> => {
  if (names.length === 0) return new Set()
  const keys = names.map(lockKey)
  const { rows } = await sql<{ key: string }>`
    select key::text from unnest(${keys}::bigint[]) key
     where exists (
       select from pg_locks
        where locktype = 'advisory' and objsubid = 1 and granted
          and database = (select oid from pg_database where datname = current_database())
          and (classid::bigint << 32) | objid::bigint = key)`.execute(db)
  const held = new Set(rows.map((row) => row.key))
  return new Set(names.filter((_, index) => held.has(keys[index] ?? '')))
}

/** What a node says of the master keys: that it opens what is sealed under this one; that it seals under this one. */
export const nodeSays = {
  opens: (nodeId: string, keyId: string): string => `node ${nodeId} opens ${keyId}`,
  seals: (nodeId: string, keyId: string): string => `node ${nodeId} seals ${keyId}`,
} as const
