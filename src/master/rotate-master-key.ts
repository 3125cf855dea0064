import { setTimeout as sleep } from 'node:timers/promises'
import { sql } from 'kysely'
import type { KeyRing } from '../kernel/crypto.ts'
import { OperatorError } from '../kernel/errors.ts'
import { writeMasterAudit } from './audit-log.ts'
import { followMasterKey, type KeyState, readKeyState, writeKeyState } from './installation.ts'
import { nodeSays, whichHeld } from './live-names.ts'
import type { MasterDb, MasterTransaction } from './master.ts'
import { countUnderOtherKeys, resealBatch, sealedColumns } from './sealed-columns.ts'

export type RotationOptions = Readonly<{
  db: MasterDb
  /** Knows both keys. Afterwards it seals under the new one. */
  box: KeyRing
  /** The new key. */
  to: string
  /** Is told what is done next. */
  say: (text: string) => void
  /** Milliseconds that nodes get to notice; a dead one is in the register for six seconds. */
  patienceMs?: number
}>

/** The key before, undefined when all that is new was under this one already; and how many values were sealed again. */
export type Rotation = Readonly<{ from: string | undefined; resealed: number }>

/** Longer than a transaction of Freehold lives: statements and idle transactions end after 30 s. */
const transactionPatienceMs = 70_000
const pauseMs = 100

/** Asks until nothing is left, and answers what is left when patience ends. */
const untilNone = async <T>(ask: () => Promise<readonly T[]>, patienceMs: number): Promise<readonly T[]> => {
  for (const deadline = performance.now() + patienceMs; ; await sleep(pauseMs)) {
    const left = await ask()
    if (left.length === 0 || performance.now() > deadline) return left
  }
}

/** Running nodes that do not say this of themselves. Those of an older release say nothing. */
const nodesNotSaying = async (db: MasterDb, saying: (nodeId: string) => string) => {
  const nodes = await db
    .selectFrom('nodes')
    .select(['id', 'host', 'role'])
    .where('expires_at', '>', sql<Date>`now()`)
    .execute()
  const held = await whichHeld(
    db,
    nodes.map(({ id }) => saying(id)),
  )
  return nodes.filter(({ id }) => !held.has(saying(id)))
}

const announce = (db: MasterDb) => sql`select pg_notify('freehold_changes', 'master-key')`.execute(db)

const waitForNodes = async (
  { db, say, patienceMs = 20_000 }: RotationOptions,
  what: string,
  saying: (nodeId: string) => string,
): Promise<void> => {
  say(`waiting until every node ${what}`)
  const left = await untilNone(() => nodesNotSaying(db, saying), patienceMs)
  if (left.length === 0) return
  throw new OperatorError([
    ...left.map(
      ({ id, host, role }) => `node ${id} (${role} on ${host}) does not know the new key, or does not answer`,
    ),
    'restart it with the new MASTER_KEY and the present key as MASTER_KEY_PREVIOUS, then run this again',
  ])
}

/** What was sealed under the old key before nodes changed over may still be on its way into the master. */
const waitForTransactions = async ({ db, say }: RotationOptions): Promise<void> => {
  const { rows } = await sql<{ moment: string }>`select clock_timestamp()::text as moment`.execute(db)
  const moment = rows[0]?.moment
  const older = async () => {
    const { rows } = await sql<{ pid: number }>`
      select pid from pg_stat_activity
       where datname = current_database() and usename = current_user and application_name = 'freehold master'
         and pid <> pg_backend_pid() and xact_start < ${moment}::timestamptz`.execute(db)
    return rows
  }
  say('waiting for transactions under way')
  const left = await untilNone(older, transactionPatienceMs)
  if (left.length > 0) {
    const pids = left.map(({ pid }) => pid).join(', ')
    throw new OperatorError(
      `a transaction of Freehold stays open in the master (process ${pids} there); run this again`,
    )
  }
}

const audit = (trx: MasterTransaction, action: string, { installationId }: KeyState): Promise<void> => {
  const entity = { type: 'installation', id: installationId }
  return writeMasterAudit(trx, { actor: { kind: 'operator', id: null }, action, entity })
}

/** From the commit on everything new is sealed under the new key, and no start succeeds that does not know both. */
const begin = ({ db, box, to }: RotationOptions): Promise<KeyState> =>
  db.transaction().execute(async (trx) => {
    await trx.selectFrom('installation').select('id').forUpdate().execute()
    const { installationId, keyId: from } = await readKeyState(trx, box)
    box.sealUnder(to)
    await writeKeyState(trx, box, { installationId, from })
    const state = { installationId, keyId: to, from }
    await audit(trx, 'master_key.rotation_began', state)
    await announce(trx)
    return state
  })

/** One pass over a column; answers how many it sealed again and which it could not open. */
const resealColumn = async (
  { db, box, say }: RotationOptions,
  sealed: (typeof sealedColumns)[number],
): Promise<{ resealed: number; stuck: string[] }> => {
  const total = await countUnderOtherKeys(db, sealed, box.keyId)
  const done = { resealed: 0, stuck: [] as string[] }
  let tenths = -1
  for (let after: string | undefined; total > 0; ) {
    const now = Math.floor((10 * done.resealed) / total)
    if (now > tenths) say(`sealing ${sealed.table} again: ${done.resealed} of ${total}`)
    tenths = Math.max(now, tenths)
    const { resealed, stuck, last } = await resealBatch(db, box, sealed, after)
    done.resealed += resealed
    done.stuck.push(...stuck.map((id) => `${sealed.table} ${id}`))
    if (last === undefined) break
    after = last
  }
  return done
}

/** How many values are not sealed under this key, by table; only tables that have some. */
export const leftUnderOtherKeys = async (
  db: MasterDb,
  keyId: string,
): Promise<{ table: string; count: number }[]> => {
  const left: { table: string; count: number }[] = []
  for (const sealed of sealedColumns) {
    const count = await countUnderOtherKeys(db, sealed, keyId)
    if (count > 0) left.push({ table: sealed.table, count })
  }
  return left
}

const resealAll = async (options: RotationOptions): Promise<number> => {
  let resealed = 0
  for (;;) {
    const stuck: string[] = []
    for (const sealed of sealedColumns) {
      const pass = await resealColumn(options, sealed)
      resealed += pass.resealed
      stuck.push(...pass.stuck)
    }
    const left = await leftUnderOtherKeys(options.db, options.to)
    const count = left.reduce((sum, each) => sum + each.count, 0)
    if (count === 0) return resealed
    if (count <= stuck.length) {
      const shown = stuck.slice(0, 5).join(', ')
      throw new OperatorError(
        `no known key opens ${stuck.length} of the sealed values (${shown}); repair or delete those rows, then run this again`,
      )
    }
    options.say(`waiting for ${count} rows that are in use`)
    await sleep(pauseMs)
  }
}

/** The proof that nothing is left and the word that the old key may go are one transaction. */
const finish = ({ db, box, to }: RotationOptions, state: KeyState): Promise<void> =>
  db.transaction().execute(async (trx) => {
    if ((await leftUnderOtherKeys(trx, to)).length > 0)
      throw new Error('something was sealed under the old key')
    await writeKeyState(trx, box, { installationId: state.installationId, from: undefined })
    await audit(trx, 'master_key.rotated', state)
  })

/**
 * Seals everything under the key `to`. Killed at any point, the next call goes on; until one has finished, both keys are
 * needed. Live nodes that know both keys go on serving and change over; while one does not know the new key nothing is
 * begun. Only one at a time may run. Throws OperatorError with what to do.
 */
export const rotateMasterKey = async (options: RotationOptions): Promise<Rotation> => {
  const { db, box, to } = options
  const found = await followMasterKey(db, box)
  if (found.keyId === to && found.from === undefined && (await leftUnderOtherKeys(db, to)).length === 0) {
    return { from: undefined, resealed: 0 }
  }
  if (found.keyId !== to && found.from !== undefined) {
    throw new OperatorError(
      'a rotation to another key has begun; finish it first, with the MASTER_KEY and MASTER_KEY_PREVIOUS it was begun with',
    )
  }
  await announce(db)
  await waitForNodes(options, 'knows the new key', (id) => nodeSays.opens(id, to))
  const state = found.keyId === to ? found : await begin(options)
  await waitForNodes(options, 'seals under the new key', (id) => nodeSays.seals(id, to))
  await waitForTransactions(options)
  const resealed = await resealAll(options)
  await finish(options, state)
  return { from: state.from, resealed }
}
