import type { AddressInfo } from 'node:net'
import { Writable } from 'node:stream'
import { SMTPServer, type SMTPServerOptions } from 'smtp-server'
import type { Test } from 'tap'
import { newId } from '../../src/kernel/ids.ts'
import { createLogger } from '../../src/kernel/log.ts'
import { parseSmtpUrl } from '../../src/kernel/smtp-address.ts'
import { createMailer, type Mail, type Mailer } from '../../src/mail/mailer.ts'

export type TestSmtp = {
  port: number
  /** Every mail that was taken, raw. */
  taken: string[]
  /** What the next mails are answered with, one each; then they are taken. */
  refusals: { code: number; at: 'recipient' | 'data' }[]
  stop(): Promise<void>
}

const refusal = (code: number): Error =>
  Object.assign(new Error('no, and here is ada@example.com'), { responseCode: code })

/** A real SMTP server on loopback. */
export const startSmtp = async (t: Test, options: SMTPServerOptions = {}, port = 0): Promise<TestSmtp> => {
  const [taken, refusals]: [string[], TestSmtp['refusals']] = [[], []]
  const server = new SMTPServer({
    logger: false,
    disabledCommands: ['AUTH', 'STARTTLS'],
    onRcptTo: (_address, _session, done) => {
      const next = refusals[0]?.at === 'recipient' ? refusals.shift() : undefined
      done(next && refusal(next.code))
    },
    onData: (stream, _session, done) => {
      const chunks: Buffer[] = []
      stream.on('data', (chunk: Buffer) => chunks.push(chunk))
      stream.on('end', () => {
        const next = refusals[0]?.at === 'data' ? refusals.shift() : undefined
        if (next === undefined) taken.push(Buffer.concat(chunks).toString())
        done(next && refusal(next.code))
      })
    },
    ...options,
  })
  // A client that hangs up on our certificate is part of the tests.
  server.on('error', () => {})
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  const stop = () => new Promise<void>((resolve) => server.close(() => resolve()))
  t.teardown(stop)
  return { port: (server.server.address() as AddressInfo).port, taken, refusals, stop }
}

/** A mailer for this SMTP_URL, and everything it logs. */
export const mailerFor = (
  url: string | undefined,
  folder = '/nowhere',
): { mailer: Mailer; log: string[] } => {
  const log: string[] = []
  const sink = new Writable({
    write: (chunk, _encoding, done) => {
      log.push(String(chunk))
      done()
    },
  })
  const mailer = createMailer({
    smtp: url === undefined ? undefined : parseSmtpUrl(url),
    from: { name: 'Acme, "Inc"', address: 'no-reply@acme.example' },
    folder,
    log: createLogger('debug', sink),
    now: () => new Date(),
  })
  return { mailer, log }
}

export const newMail = (mail: Partial<Mail> = {}): Mail => ({
  id: newId(),
  to: 'ada@example.com',
  letter: { kind: 'reset-password', link: 'https://app.example/auth/password/reset#token=canary' },
  createdAt: '2026-01-02T03:04:05.000Z',
  expiresAt: new Date(Date.now() + 60_000).toISOString(),
  ...mail,
})
