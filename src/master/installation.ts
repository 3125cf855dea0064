import { type KeyRing, keyIdOf } from '../kernel/crypto.ts'
import { OperatorError } from '../kernel/errors.ts'
import { newId } from '../kernel/ids.ts'
import type { MasterDb, MasterTransaction } from './master.ts'
import { sealedFor } from './secrets.ts'

/**
 * Which master key everything is sealed under from now on, and the one before while values under it may be left. It stands
 * in `key_check`, sealed under the key itself.
 */
export type KeyState = Readonly<{ installationId: string; keyId: string; from: string | undefined }>

const checkText = (from: string | undefined): string => (from === undefined ? 'freehold' : `freehold ${from}`)

/** Enters that `box` now seals under its key, after `from` while values under that may be left. */
export const writeKeyState = async (
  trx: MasterTransaction,
  box: KeyRing,
  { installationId, from }: Pick<KeyState, 'installationId' | 'from'>,
): Promise<void> => {
  await trx
    .updateTable('installation')
    .set({ key_check: box.seal(checkText(from), sealedFor.keyCheck(installationId)) })
    .execute()
}

/** Throws OperatorError when `box` can't open what is sealed here. */
export const readKeyState = async (db: MasterDb, box: KeyRing): Promise<KeyState> => {
  const { id, key_check } = await db
    .selectFrom('installation')
    .select(['id', 'key_check'])
    .executeTakeFirstOrThrow()
  let text: string
  try {
    text = box.open(key_check, sealedFor.keyCheck(id)).toString()
  } catch (cause) {
    throw new OperatorError(
      'MASTER_KEY is not the key this master database was made with; set the key that was used before',
      cause,
    )
  }
  const [, from] = text.split(' ')
  if (from !== undefined && !box.keyIds.includes(from)) {
    throw new OperatorError(
      'MASTER_KEY takes the place of a key that is still needed; set MASTER_KEY_PREVIOUS to that until freehold keys rotate --master-key has finished',
    )
  }
  return { installationId: id, keyId: keyIdOf(key_check), from }
}

/** From now on `box` seals under the key that this installation seals under. Throws as `readKeyState` does. */
export const followMasterKey = async (db: MasterDb, box: KeyRing): Promise<KeyState> => {
  const state = await readKeyState(db, box)
  box.sealUnder(state.keyId)
  return state
}

/**
 * The id of this installation, made at the first start. Roles on clusters carry it, so that two installations on one
 * server never touch each other's databases. Throws OperatorError when `box` holds another master key than the one
 * this master was made with; otherwise `box` seals under that.
 */
export const openInstallation = async (db: MasterDb, box: KeyRing): Promise<string> => {
  const id = newId()
  const row = { id, key_check: box.seal(checkText(undefined), sealedFor.keyCheck(id)) }
  await db
    .insertInto('installation')
    .values(row)
    .onConflict((conflict) => conflict.column('only_row').doNothing())
    .execute()
  return (await followMasterKey(db, box)).installationId
}

/** True when the installation was made, by an earlier start or command. */
export const isInstalled = async (db: MasterDb): Promise<boolean> =>
  (await db.selectFrom('installation').select('id').executeTakeFirst()) !== undefined
