import type { SecretBox } from '../kernel/crypto.ts'
import { OperatorError } from '../kernel/errors.ts'
import { newId } from '../kernel/ids.ts'
import type { MasterDb } from './master.ts'
import { sealedFor } from './secrets.ts'

const keyCheckText = 'freehold'

/**
 * The id of this installation, made at the first start. Roles on clusters carry it, so that two installations on one
 * server never touch each other's databases. Throws OperatorError when `box` holds another master key than the one
 * this master was made with.
 */
export const openInstallation = async (db: MasterDb, box: SecretBox): Promise<string> => {
  const id = newId()
  const row = { id, key_check: box.seal(keyCheckText, sealedFor.keyCheck(id)) }
  await db
    .insertInto('installation')
    .values(row)
    .onConflict((conflict) => conflict.column('only_row').doNothing())
    .execute()
  const kept = await db.selectFrom('installation').select(['id', 'key_check']).executeTakeFirstOrThrow()
  try {
    box.open(kept.key_check, sealedFor.keyCheck(kept.id))
  } catch (cause) {
    throw new OperatorError(
      'MASTER_KEY is not the key this master database was made with; set the key that was used before',
      cause,
    )
  }
  return kept.id
}

/** True when the installation was made, by an earlier start or command. */
export const isInstalled = async (db: MasterDb): Promise<boolean> =>
  (await db.selectFrom('installation').select('id').executeTakeFirst()) !== undefined
