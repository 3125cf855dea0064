import { sql } from 'kysely'
import t from 'tap'
import { createMailedToken } from '../../src/access/mailed-tokens.ts'
import { startSession } from '../../src/access/sessions.ts'
import { tidyAccess } from '../../src/access/tidy.ts'
import { createSecretBox } from '../../src/kernel/crypto.ts'
import { keepSealed } from '../../src/master/sealed-payloads.ts'
import { startPlainMaster } from '../helpers/plain-master.ts'

const { db, newPerson } = await startPlainMaster(t)
const box = createSecretBox(Buffer.alloc(32, 7))

t.test('what has no use any more is cleared away, what has is kept', async (t) => {
  const days = [0, 0, 6, 8, 89, 91]
  for (const [n, age] of days.entries()) {
    const personId = await newPerson(`p${n}@example.com`)
    await db.transaction().execute(async (trx) => {
      const { sessionId } = await startSession(trx, box, {
        id: personId,
        tenantId: null,
        address: null,
        userAgent: null,
      })
      const payload = await keepSealed(trx, box, {})
      await createMailedToken(trx, { purpose: 'reset_password', email: `p${n}@example.com`, personId })
      const past = sql<Date>`now() - make_interval(days => ${age})`
      if (n > 0)
        await trx.updateTable('sessions').set({ ended_at: past }).where('id', '=', sessionId).execute()
      await trx.updateTable('sealed_payloads').set({ created_at: past }).where('id', '=', payload).execute()
      if (n > 0)
        await trx
          .updateTable('mailed_tokens')
          .set({ expires_at: past })
          .where('person_id', '=', personId)
          .execute()
    })
  }
  await sql`update mailed_tokens set expires_at = expires_at - interval '1 s' where expires_at <= now()`.execute(
    db,
  )
  await tidyAccess(db)
  const count = async (table: 'sessions' | 'sealed_payloads' | 'mailed_tokens' | 'refresh_tokens') =>
    (await db.selectFrom(table).selectAll().execute()).length
  t.equal(await count('sessions'), 5)
  t.equal(await count('refresh_tokens'), 5)
  t.equal(await count('sealed_payloads'), 3)
  t.equal(await count('mailed_tokens'), 1)
})
