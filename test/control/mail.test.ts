import { sql } from 'kysely'
import t, { type Test } from 'tap'
import { enqueueMail, sendMail } from '../../src/control/mail.ts'
import { createSecretBox } from '../../src/kernel/crypto.ts'
import { createLogger } from '../../src/kernel/log.ts'
import type { Mailer } from '../../src/mail/mailer.ts'
import { startWorker } from '../../src/worker.ts'
import { noAccountTasks } from '../helpers/no-account-tasks.ts'
import { startTestPostgres } from '../helpers/postgres.ts'
import { startLandlord } from '../helpers/tenant-manager.ts'
import { until } from '../helpers/until.ts'
import { mailerFor, startSmtp } from '../mail/smtp-world.ts'

const postgres = await startTestPostgres(t)
const { master, manager, box } = await startLandlord(t, postgres, { spareDatabases: 0 })
const { db } = master
const link = 'https://app.example/auth/password/reset#token=canary'
const to = 'ada@example.com'

const enqueueOne = (expiresAt?: Date) =>
  db.transaction().execute((trx) =>
    enqueueMail(trx, box, {
      to,
      letter: { kind: 'reset-password', link },
      ...(expiresAt && { expiresAt }),
    }),
  )

/** A worker that sends with this mailer. */
const startSending = async (t: Test, mailer: Mailer): Promise<void> => {
  const worker = await startWorker({
    master,
    manager,
    log: createLogger('silent'),
    accountTasks: {
      ...noAccountTasks,
      'send-mail': ({ payloadId }) => sendMail({ db, box, mailer }, payloadId),
    },
  })
  t.teardown(() => worker.stop())
}

const payloads = () => db.selectFrom('sealed_payloads').selectAll().execute()
const jobs = async (): Promise<{ payload: { payloadId: string }; attempts: number }[]> =>
  (
    await sql<{ payload: { payloadId: string }; attempts: number }>`
      select payload, attempts from graphile_worker._private_jobs j
        join graphile_worker._private_tasks t on t.id = j.task_id
       where t.identifier = 'send-mail'`.execute(db)
  ).rows
const nothingLeft = async () => (await jobs()).length === 0 && (await payloads()).length === 0
/** Lets the pauses between tries pass. */
const hurry = () =>
  sql`update graphile_worker._private_jobs set run_at = now() where attempts > 0`.execute(db)

t.test('refused with 451 and then taken: one mail, and nothing is left of it', async (t) => {
  const smtp = await startSmtp(t)
  smtp.refusals.push({ code: 451, at: 'recipient' }, { code: 421, at: 'data' })
  await enqueueOne()
  await startSending(t, mailerFor(`smtp://127.0.0.1:${smtp.port}`).mailer)
  await until(async () => {
    await hurry()
    return nothingLeft()
  })
  t.equal(smtp.taken.length, 1)
  t.match(smtp.taken[0], /canary/)
})

t.test('with the server down the mail waits, and is sent when it is up', async (t) => {
  const { port, stop } = await startSmtp(t)
  await stop()
  await enqueueOne()
  await startSending(t, mailerFor(`smtp://127.0.0.1:${port}`).mailer)
  await until(async () => (await jobs()).some((job) => job.attempts > 0))
  t.equal((await payloads()).length, 1)
  const smtp = await startSmtp(t, {}, port)
  await until(async () => {
    await hurry()
    return nothingLeft()
  })
  t.equal(smtp.taken.length, 1)
})

t.test('what is refused for good, or out of date, is not tried again', async (t) => {
  const smtp = await startSmtp(t)
  smtp.refusals.push({ code: 550, at: 'recipient' })
  await enqueueOne()
  await enqueueOne(new Date(0))
  await startSending(t, mailerFor(`smtp://127.0.0.1:${smtp.port}`).mailer)
  await until(nothingLeft)
  t.strictSame(smtp.taken, [])
})

t.test(
  'the master holds neither link nor address in the clear, and without the master key nothing opens',
  async (t) => {
    await enqueueOne()
    const [payload] = await payloads()
    const dump = JSON.stringify([await jobs(), payload]) + payload?.sealed.toString('latin1')
    t.notMatch(dump, /canary|ada@example/)
    const [job] = await jobs()
    const stranger = createSecretBox(Buffer.alloc(32, 8))
    const mailer: Mailer = { send: async () => void t.fail('sent') }
    await t.rejects(
      sendMail({ db, box: stranger, mailer }, job?.payload.payloadId ?? ''),
      /another master key/,
    )
    await sql`delete from graphile_worker._private_jobs`.execute(db)
    await db.deleteFrom('sealed_payloads').execute()
  },
)

t.test('a sealed mail does not open in the place of another', async (t) => {
  await enqueueOne()
  await enqueueOne()
  const [a, b] = await payloads()
  await db
    .updateTable('sealed_payloads')
    .set({ sealed: a?.sealed ?? Buffer.alloc(0) })
    .where('id', '=', b?.id ?? '')
    .execute()
  const mailer: Mailer = { send: async () => void t.fail('sent') }
  await t.rejects(sendMail({ db, box, mailer }, b?.id ?? ''))
  await sql`delete from graphile_worker._private_jobs`.execute(db)
  await db.deleteFrom('sealed_payloads').execute()
})

t.test(
  'killed after the server said yes, it is sent again as the same mail, and never a third time',
  async (t) => {
    const smtp = await startSmtp(t)
    const { mailer } = mailerFor(`smtp://127.0.0.1:${smtp.port}`)
    await enqueueOne()
    const [{ payload } = { payload: { payloadId: '' } }] = await jobs()
    const killed: Mailer = {
      send: async (mail) => {
        await mailer.send(mail)
        throw new Error('killed')
      },
    }
    await t.rejects(sendMail({ db, box, mailer: killed }, payload.payloadId), /killed/)
    await sendMail({ db, box, mailer }, payload.payloadId)
    await sendMail({ db, box, mailer }, payload.payloadId)
    const ids = smtp.taken.map((raw) => /^Message-ID: (.*)$/im.exec(raw)?.[1])
    t.equal(ids.length, 2)
    t.equal(ids[0], ids[1])
    await sql`delete from graphile_worker._private_jobs`.execute(db)
  },
)

t.test('a mail of a transaction that rolls back is never sent', async (t) => {
  await t.rejects(
    db.transaction().execute(async (trx) => {
      await enqueueMail(trx, box, { to, letter: { kind: 'reset-password', link } })
      throw new Error('no')
    }),
  )
  t.ok(await nothingLeft())
})
