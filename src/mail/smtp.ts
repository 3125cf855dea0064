import type { Transporter } from 'nodemailer'
import type { SmtpAddress } from '../kernel/smtp-address.ts'
import type { Message } from './mailer.ts'

export type Smtp = {
  /** The code of a refusal for good (550 …), undefined when the server took the mail. Rejects when it may take it later. */
  send(message: Message): Promise<number | undefined>
}

/** Long enough for servers that greet slowly on purpose, short enough that a worker's slot is not lost to a dead one. */
const connectTimeoutMs = 15_000
const silenceTimeoutMs = 60_000

/** The reply code when it speaks of this mail and is final. A login that is refused is the operator's mistake, not the mail's. */
const finalRefusal = (error: unknown): number | undefined => {
  const { code, responseCode } = error as { code?: unknown; responseCode?: unknown }
  const aboutMail = code === 'EENVELOPE' || code === 'EMESSAGE'
  return aboutMail && typeof responseCode === 'number' && responseCode >= 500 ? responseCode : undefined
}

/** What went wrong without what was said: replies of mail servers repeat addresses, and sometimes logins. */
const withoutReply = (error: unknown): Error => {
  const { code, responseCode } = error as { code?: unknown; responseCode?: unknown }
  const reason = [code, responseCode].filter((part) => part !== undefined).join(' ')
  return new Error(`the mail server did not take the mail (${reason || 'no reason given'})`)
}

const openTransport = async ({ host, port, security, verify, login }: SmtpAddress): Promise<Transporter> => {
  // Loaded with the first mail: most starts send none.
  const { createTransport } = await import('nodemailer')
  return createTransport({
    host,
    port,
    secure: security === 'smtps',
    requireTLS: security === 'starttls',
    ignoreTLS: security === 'plain',
    ...(login === undefined ? {} : { auth: { user: login.user, pass: login.password } }),
    tls: { rejectUnauthorized: verify, minVersion: 'TLSv1.2' },
    connectionTimeout: connectTimeoutMs,
    greetingTimeout: connectTimeoutMs,
    socketTimeout: silenceTimeoutMs,
  })
}

/** Opens a connection for each mail: mails are few, and nothing needs to be closed. */
export const createSmtp = (address: SmtpAddress): Smtp => ({
  send: async (message) => {
    const transport = await openTransport(address)
    try {
      await transport.sendMail(message)
      return undefined
    } catch (error) {
      const refusal = finalRefusal(error)
      if (refusal === undefined) throw withoutReply(error)
      return refusal
    }
  },
})
