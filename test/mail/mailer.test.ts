import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { ownCertificate } from '../helpers/certificate.ts'
import { readMail } from '../helpers/mailbox.ts'
import { mailerFor, newMail, startSmtp } from './smtp-world.ts'

const messageId = (raw: string | undefined): string =>
  /^Message-ID: (.*)$/im.exec(raw ?? '')?.[1]?.trim() ?? ''

t.test('a mail is handed to the server: one recipient, text and HTML, our Message-ID', async (t) => {
  const smtp = await startSmtp(t)
  const { mailer, log } = mailerFor(`smtp://127.0.0.1:${smtp.port}`)
  const mail = newMail()
  await mailer.send(mail)
  const received = readMail(smtp.taken[0] ?? '')
  t.match(received, {
    to: 'ada@example.com',
    subject: 'Choose a new password',
    token: 'canary',
    text: /one hour/,
    html: /^<!doctype html>/,
    headers: /^Date: Fri, 02 Jan 2026 03:04:05 \+0000$/m,
  })
  t.match(received.headers, /^Auto-Submitted: auto-generated$/m)
  t.match(received.headers, /^From: "Acme, \\"Inc\\"" <no-reply@acme\.example>$/m)
  t.equal(messageId(smtp.taken[0]), `<${mail.id}@acme.example>`)
  t.notMatch(log.join(''), /canary|ada@example/, 'neither link nor address is logged')
})

for (const at of ['recipient', 'data'] as const) {
  t.test(`a 4xx at the ${at} is worth another try, which carries the same Message-ID`, async (t) => {
    const smtp = await startSmtp(t)
    const { mailer } = mailerFor(`smtp://127.0.0.1:${smtp.port}`)
    smtp.refusals.push({ code: 451, at })
    const mail = newMail()
    await t.rejects(mailer.send(mail), { message: /451\)$/ })
    await mailer.send(mail)
    t.equal(messageId(smtp.taken[0]), `<${mail.id}@acme.example>`)
  })

  t.test(`a 5xx at the ${at} is final: logged without the address, and given up`, async (t) => {
    const smtp = await startSmtp(t)
    const { mailer, log } = mailerFor(`smtp://127.0.0.1:${smtp.port}`)
    smtp.refusals.push({ code: 550, at })
    await mailer.send(newMail())
    t.strictSame(smtp.taken, [])
    t.match(log.join(''), /"refusal":550/)
    t.notMatch(log.join(''), /ada@example|canary/)
  })
}

t.test('a server that is down now takes the mail when it is up', async (t) => {
  const { port, stop } = await startSmtp(t)
  await stop()
  const { mailer } = mailerFor(`smtp://127.0.0.1:${port}`)
  const mail = newMail()
  await t.rejects(mailer.send(mail), { message: /ECONNREFUSED|ESOCKET|ECONNECTION/ })
  const smtp = await startSmtp(t, {}, port)
  await mailer.send(mail)
  t.equal(smtp.taken.length, 1)
})

t.test('STARTTLS is required: a server without it hears no address and no login', async (t) => {
  const heard: string[] = []
  const smtp = await startSmtp(t, {
    disabledCommands: ['STARTTLS'],
    allowInsecureAuth: true,
    onAuth: ({ username = '' }, _session, done) => {
      heard.push(username)
      done(null, { user: username })
    },
    onMailFrom: ({ address }, _session, done) => {
      heard.push(address)
      done()
    },
  })
  const { mailer } = mailerFor(`smtp://me:secret@127.0.0.1:${smtp.port}?tls=verify`)
  await t.rejects(mailer.send(newMail()), { message: /ETLS/ })
  t.strictSame(heard, [])
})

t.test('a certificate that nobody vouches for is refused, unless the operator said so', async (t) => {
  for (const [scheme, secure] of [
    ['smtp', false],
    ['smtps', true],
  ] as const) {
    const smtp = await startSmtp(t, { ...ownCertificate(), secure, disabledCommands: ['AUTH'] })
    const url = `${scheme}://localhost:${smtp.port}`
    await t.rejects(mailerFor(`${url}?tls=verify`).mailer.send(newMail()), { message: /ETLS|ESOCKET|CERT/ })
    await mailerFor(`${url}?tls=no-verify`).mailer.send(newMail())
    t.equal(smtp.taken.length, 1, scheme)
  }
})

t.test('the login is used, and a refused one is no reason to give the mail up', async (t) => {
  const smtp = await startSmtp(t, {
    ...ownCertificate(),
    disabledCommands: [],
    onAuth: ({ username, password }, _session, done) =>
      username === 'me' && password === 'p@ss'
        ? done(null, { user: 'me' })
        : done(Object.assign(new Error('no'), { responseCode: 535 })),
  })
  const url = (login: string) => `smtp://${login}@localhost:${smtp.port}?tls=no-verify`
  await t.rejects(mailerFor(url('me:wrong')).mailer.send(newMail()), { message: /535\)$/ })
  await mailerFor(url('me:p%40ss')).mailer.send(newMail())
  t.equal(smtp.taken.length, 1)
})

t.test('what is out of date is not sent any more', async (t) => {
  const smtp = await startSmtp(t)
  const { mailer, log } = mailerFor(`smtp://127.0.0.1:${smtp.port}`)
  await mailer.send(newMail({ expiresAt: new Date(Date.now() - 1).toISOString() }))
  t.strictSame(smtp.taken, [])
  t.match(log.join(''), /not be sent in time/)
})

t.test('without a server it is a file that only we can read, and the log shows where to click', async (t) => {
  const parent = await mkdtemp(join(tmpdir(), 'test-freehold-mail-'))
  t.teardown(() => rm(parent, { recursive: true }))
  const folder = join(parent, 'mail')
  const { mailer, log } = mailerFor(undefined, folder)
  const mail = newMail()
  await mailer.send(mail)
  await mailer.send(mail)
  t.strictSame(await readdir(folder), [`${mail.id}.eml`], 'a second try replaces the first')
  const file = join(folder, `${mail.id}.eml`)
  t.equal((await stat(file)).mode & 0o777, 0o600)
  t.equal((await stat(folder)).mode & 0o777, 0o700)
  t.match(readMail(await readFile(file, 'utf8')), { to: 'ada@example.com', token: 'canary' })
  t.match(log.join(''), /"subject":"Choose a new password","link":"https:[^"]*#token=canary"/)
})
