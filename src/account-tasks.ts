import { join } from 'node:path'
import { keepSigningKeys } from './access/signing-keys.ts'
import { tidyAccess } from './access/tidy.ts'
import { answerAccountRequest } from './control/auth/account-requests.ts'
import { sendMail } from './control/mail.ts'
import { endPlans } from './control/plans/end-plans.ts'
import type { Clock } from './kernel/clock.ts'
import type { Config } from './kernel/config.ts'
import type { SecretBox } from './kernel/crypto.ts'
import type { Logger } from './kernel/log.ts'
import { createMailer } from './mail/mailer.ts'
import type { MasterDb } from './master/master.ts'
import type { AccountTasks } from './worker.ts'

/** What the worker does for accounts: mails, requests that are answered by mail, and clearing away. */
export const createAccountTasks = (parts: {
  config: Config
  db: MasterDb
  box: SecretBox
  log: Logger
  clock: Clock
}): AccountTasks => {
  const { config, db, box, log, clock } = parts
  const mailer = createMailer({
    smtp: config.smtp,
    from: config.mailFrom,
    folder: join(config.dataDir, 'mail'),
    log,
    now: () => clock.now(),
  })
  const { publicUrl } = config
  return {
    'send-mail': ({ payloadId }) => sendMail({ db, box, mailer }, payloadId),
    'account-request': ({ payloadId }) => answerAccountRequest({ db, box, publicUrl }, payloadId),
    'end-plans': () => endPlans({ db, box, publicUrl }),
    'tidy-access': async () => {
      await tidyAccess(db)
      await keepSigningKeys(db, box)
    },
  }
}
