import type { Logger } from '../kernel/log.ts'
import type { SmtpAddress } from '../kernel/smtp-address.ts'
import { compose, type Letter } from './letters.ts'
import { writeMail } from './mail-files.ts'
import { toHtml, toText } from './render.ts'
import { createSmtp, type Smtp } from './smtp.ts'

/** One letter to one person. Everything that varies is in it, so that each try sends the same mail. */
export type Mail = {
  /** Names the mail over all its tries. */
  id: string
  to: string
  letter: Letter
  /** RFC 3339. */
  createdAt: string
  /** After this there is no use in sending it: its link is dead, or the news are old. RFC 3339. */
  expiresAt: string
}

export type Sender = Readonly<{ name: string; address: string }>

/** A mail as nodemailer takes it. */
export type Message = ReturnType<typeof toMessage>

export type Mailer = {
  /**
   * Hands the mail over. Rejects when a later try may succeed; what can't ever be sent, because its recipient is refused
   * for good or its time is over, is logged and given up.
   */
  send(mail: Mail): Promise<void>
}

export type MailerOptions = {
  smtp: SmtpAddress | undefined
  from: Sender
  /** Where mails are written when there is no server for them. */
  folder: string
  log: Logger
  now: () => Date
}

/**
 * The mail with its headers. The Message-ID comes from the mail's id: a try that was taken in but never confirmed is
 * followed by one that mailboxes recognise as the same.
 */
const toMessage = (mail: Mail, from: Sender) => {
  const content = compose(mail.letter)
  return {
    // Objects, so that no name or address is ever read as a list of addresses.
    from: { name: from.name, address: from.address },
    to: { name: '', address: mail.to },
    subject: content.subject,
    text: toText(content),
    html: toHtml(content),
    messageId: `<${mail.id}@${from.address.slice(from.address.indexOf('@') + 1)}>`,
    date: new Date(mail.createdAt),
    // RFC 3834: no answering machine replies to it.
    headers: { 'Auto-Submitted': 'auto-generated' },
    xMailer: false as const,
    disableFileAccess: true,
    disableUrlAccess: true,
  }
}

const sendBySmtp = async (smtp: Smtp, mail: Mail, from: Sender, log: Logger): Promise<void> => {
  const fields = { mail: mail.id, letter: mail.letter.kind }
  const refusal = await smtp.send(toMessage(mail, from))
  if (refusal === undefined) log.info(fields, 'a mail was sent')
  else log.warn({ ...fields, refusal }, 'a mail was refused for good and given up')
}

/** Sends by SMTP, or into files when there is no server. */
export const createMailer = ({ smtp, from, folder, log, now }: MailerOptions): Mailer => {
  const server = smtp && createSmtp(smtp)
  return {
    send: async (mail) => {
      if (new Date(mail.expiresAt) <= now()) {
        log.warn(
          { mail: mail.id, letter: mail.letter.kind },
          'a mail could not be sent in time and was given up',
        )
      } else if (server !== undefined) {
        await sendBySmtp(server, mail, from, log)
      } else {
        const file = await writeMail(folder, mail.id, toMessage(mail, from))
        const { subject, action } = compose(mail.letter)
        // Whoever reads this log also owns the files. With a server the link is never logged.
        log.info({ subject, link: action.link, file }, 'a mail was written, because SMTP_URL is not set')
      }
    },
  }
}
