import { deviceName } from '../access/device-name.ts'
import type { Caller } from '../http/identity.ts'
import type { SecretBox } from '../kernel/crypto.ts'
import { newId } from '../kernel/ids.ts'
import type { Letter, Whereabouts } from '../mail/letters.ts'
import type { Mail, Mailer } from '../mail/mailer.ts'
import type { MasterDb, MasterTransaction } from '../master/master.ts'
import { dropSealed, keepSealed, readSealed } from '../master/sealed-payloads.ts'
import { enqueue } from '../queue/enqueue.ts'

/** News that come later than this are no news. */
const newsDays = 3
const dayMs = 86_400_000

/**
 * Sends a letter when this transaction commits, and never when it rolls back. `expiresAt` is when its link dies; without
 * one the letter is news, and worth sending for three days.
 */
export const enqueueMail = async (
  trx: MasterTransaction,
  box: SecretBox,
  mail: { to: string; letter: Letter; expiresAt?: Date },
): Promise<void> => {
  const now = new Date()
  const kept: Mail = {
    id: newId(),
    to: mail.to,
    letter: mail.letter,
    createdAt: now.toISOString(),
    expiresAt: (mail.expiresAt ?? new Date(now.getTime() + newsDays * dayMs)).toISOString(),
  }
  await enqueue(trx, 'send-mail', { payloadId: await keepSealed(trx, box, kept) })
}

/**
 * The task `send-mail`. Killed between the server's yes and the deletion, it sends again; the Message-ID is the same, so
 * mailboxes can tell.
 */
export const sendMail = async (
  deps: { db: MasterDb; box: SecretBox; mailer: Mailer },
  payloadId: string,
): Promise<void> => {
  const mail = await readSealed(deps.db, deps.box, payloadId)
  if (mail === undefined) return
  await deps.mailer.send(mail as Mail)
  await dropSealed(deps.db, payloadId)
}

/** Where something happened, for the person it happened to. */
export const whereaboutsOf = (caller: Pick<Caller, 'address' | 'userAgent'>): Whereabouts => ({
  at: new Date().toISOString(),
  address: caller.address,
  device: deviceName(caller.userAgent),
})
