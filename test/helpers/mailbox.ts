import { chmod, mkdtemp, readdir, readFile, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Logger, runOnce } from 'graphile-worker'
import type { Test } from 'tap'
import type { Service } from '../../src/service.ts'

/** A mail as its recipient reads it. */
export type Received = {
  to: string
  subject: string
  text: string
  html: string
  headers: string
  /** The first link in it, and the token behind its `#`. */
  link: string
  token: string
}

const unquote = (text: string): string =>
  Buffer.from(
    text
      .replace(/=\r\n/g, '')
      .replace(/=([0-9A-F]{2})/g, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16))),
    'latin1',
  ).toString()

const partOf = (raw: string, type: string): string => {
  const part = raw.split(/\r\n--[^\r]*/).find((text) => text.includes(`Content-Type: ${type};`)) ?? ''
  const [head = '', ...body] = part.split('\r\n\r\n')
  const text = body.join('\r\n\r\n')
  return head.includes('quoted-printable') ? unquote(text) : text
}

/** Reads a raw mail of two parts, as nodemailer writes them. */
export const readMail = (raw: string): Received => {
  const headers = raw.slice(0, raw.indexOf('\r\n\r\n'))
  const header = (name: string): string =>
    new RegExp(`^${name}: (.*)$`, 'im').exec(headers)?.[1]?.trim() ?? ''
  const text = partOf(raw, 'text/plain')
  const link = /https?:\/\/\S+/.exec(text)?.[0] ?? ''
  return {
    to: header('To'),
    subject: header('Subject'),
    text,
    html: partOf(raw, 'text/html'),
    headers,
    link,
    token: link.split('#token=')[1] ?? '',
  }
}

export type Mailbox = {
  /** Start the node with this, so that its mails end here. */
  env: { DATA_DIR: string }
  /** Does what waits for accounts in the queue, and answers the mails to this address since the last time, oldest first. */
  receive(service: Service, email: string): Promise<Received[]>
}

const silent = new Logger(() => () => {})

/** A folder for the mails of a test file's node, and the hands to empty it. */
export const openMailbox = async (t: Test): Promise<Mailbox> => {
  const dataDir = await realpath(await mkdtemp(join(tmpdir(), 'test-freehold-mail-')))
  await chmod(dataDir, 0o700)
  t.teardown(() => rm(dataDir, { recursive: true, force: true }))
  const seen = new Set<string>()
  return {
    env: { DATA_DIR: dataDir },
    receive: async (service, email) => {
      await runOnce({
        pgPool: service.master.pool,
        logger: silent,
        noHandleSignals: true,
        taskList: {
          'send-mail': (payload) => service.accountTasks['send-mail'](payload),
          'account-request': (payload) => service.accountTasks['account-request'](payload),
        },
      })
      const files = (await readdir(join(dataDir, 'mail')).catch(() => [])).toSorted()
      const received: Received[] = []
      for (const file of files) {
        if (seen.has(`${file} ${email}`)) continue
        const mail = readMail(await readFile(join(dataDir, 'mail', file), 'utf8'))
        if (mail.to !== email) continue
        seen.add(`${file} ${email}`)
        received.push(mail)
      }
      return received
    },
  }
}
