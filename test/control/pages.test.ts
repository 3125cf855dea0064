import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { sql } from 'kysely'
import t, { type Test } from 'tap'
import { openChromium, withChromium } from '../helpers/chromium.ts'
import { freePort } from '../helpers/free-port.ts'
import { type Member, type SignedIn, startFreehold } from '../helpers/freehold.ts'
import { openMailbox } from '../helpers/mailbox.ts'
import { fill, follow, press, pressTwice, reload, saysOf, watchTabs } from '../helpers/tabs.ts'
import { until } from '../helpers/until.ts'

const mailbox = await openMailbox(t)
const port = await freePort()
const origin = `http://127.0.0.1:${port}`
const [chromium, freehold] = await Promise.all([
  openChromium(t),
  startFreehold(t, { ...mailbox.env, PUBLIC_URL: origin, VERIFY_EMAIL: 'after' }),
])
const { app, call, service, signUp, newTenant } = freehold
const { db } = service.master
await app.listen({ host: '127.0.0.1', port })

const { open, asked, posts } = watchTabs(t, chromium, app, origin)

const linkFor = async (email: string, path: string): Promise<string> => {
  const mails = await mailbox.receive(service, email)
  return mails.findLast(({ link }) => link.startsWith(origin + path))?.link ?? ''
}
const isVerified = async ({ token }: SignedIn): Promise<unknown> =>
  (await call('GET', '/auth/me', { token })).body.emailVerified
const login = (email: string, password: string) => call('POST', '/auth/login', { body: { email, password } })
const partMissing = /^A part of the link is missing.* Open the link in the mail once more\.$/

t.test('a click confirms the address, once; opened again the link is dead', withChromium, async (t) => {
  const person = await signUp()
  const link = await linkFor(person.email, '/auth/email/verify')
  const page = await open(link)
  t.equal(page.url(), `${origin}/auth/email/verify`, 'the address keeps no token')
  t.equal(await isVerified(person), false, 'to open it is not enough')
  t.equal(await pressTwice(page), 'Your address is confirmed. You can sign in now.')
  t.equal(posts('/auth/email/verify'), 1)
  t.equal(await isVerified(person), true)
  t.equal(await page.$('button'), null)

  await page.goto(link)
  t.match(await press(page, 'Confirm'), /used already, has expired or was replaced; ask for a new one/)
  t.equal(posts('/auth/email/verify'), 2)
  t.match(await reload(page), partMissing)
})

t.test('who comes with a dead link gets another one from there', withChromium, async (t) => {
  const person = await signUp()
  const page = await open(await linkFor(person.email, '/auth/email/verify'))
  await sql`update mailed_tokens set expires_at = now() where email = ${person.email}`.execute(db)
  t.match(await press(page, 'Confirm'), /has expired/)
  await follow(page, 'Ask for another link')
  await fill(page, 'Email', person.email)
  t.match(await press(page, 'Send the link'), /a mail with a link is on its way/)
  await page.goto(await linkFor(person.email, '/auth/email/verify'))
  t.match(await press(page, 'Confirm'), /is confirmed/)
  t.equal(await isVerified(person), true)
})

t.test('a part of a link is none, whatever it is, and is not sent', withChromium, async (t) => {
  const page = await open('about:blank')
  for (const path of ['email/verify', 'password/reset', 'identities/confirm', 'invitation']) {
    await page.goto(`${origin}/auth/${path}`)
    t.match(await saysOf(page), partMissing, path)
    t.equal(await page.$('form:not([hidden])'), null)
    await page.goto(`${origin}/auth/${path}#token=%3Cimg+src=x%20onerror=alert(1)%3E`)
    await page.waitForFunction("location.hash === ''")
    t.match(await saysOf(page), partMissing, path)
  }
  t.notOk(asked.some(({ what }) => !what.startsWith('GET /auth/')))
  await page.goto(`${origin}/auth/email/verify#token=fhv_nonsense`)
  t.match(await press(page, 'Confirm'), /ask for a new one/)
})

t.test('a forgotten password is replaced, and going back changes nothing', withChromium, async (t) => {
  const { email, password } = await signUp()
  const page = await open(`${origin}/auth/password/forgot`)
  await fill(page, 'Email', email)
  t.match(await press(page, 'Send the link'), /a mail with a link is on its way/)
  await page.goto(await linkFor(email, '/auth/password/reset'))

  await page.waitForSelector('input:focus')
  t.strictSame(await page.evaluate(`(({ activeElement: e }) => [e.type, e.autocomplete])(document)`), [
    'password',
    'new-password',
  ])
  await fill(page, 'New password', 'short')
  await page.keyboard.press('Enter')
  t.match(await page.evaluate(`document.querySelector('input').validationMessage`), /8 characters or more/)
  t.equal(posts('/auth/password/reset'), 0)
  await fill(page, 'New password', 'password123')
  t.match(
    await press(page, 'Set the password'),
    /one of the passwords that are tried first; choose another one/,
  )
  t.equal(await page.evaluate('document.activeElement.name'), 'password', 'ready for another one')
  await fill(page, 'New password', 'violet anchors rest')
  t.match(await pressTwice(page), /new password is set\. You can sign in with it now/)
  t.equal(posts('/auth/password/reset'), 2)
  t.equal((await login(email, password)).status, 401)
  t.equal((await login(email, 'violet anchors rest')).status, 200)

  await page.goBack()
  t.equal(page.url(), `${origin}/auth/password/forgot`)
  await page.goForward()
  t.match(await saysOf(page), /A part of the link is missing|password is set/)
  t.match(await reload(page), partMissing)
  t.equal(posts('/auth/password/reset'), 2)
  t.equal((await login(email, 'violet anchors rest')).status, 200)
})

const invite = async (tenant: Member, email: string, role = 'Basic'): Promise<string> => {
  await call('POST', '/api/invitations', { token: tenant.token, body: { email, role } })
  return linkFor(email, '/auth/invitation')
}
const prove = (email: string) =>
  db.updateTable('people').set({ email_verified_at: new Date() }).where('email', '=', email).execute()
const rolesOf = async (email: string, password: string) => {
  const { tenants } = (await login(email, password)).body as unknown as { tenants: { role: string }[] }
  return tenants.map(({ role }) => role)
}

t.test('who has an account accepts with its password, once', withChromium, async (t) => {
  const [tenant, { email, password }] = [await newTenant(), await signUp()]
  const long = 'W'.repeat(100)
  await db.updateTable('tenants').set({ name: long }).where('id', '=', tenant.tenantId).execute()
  const link = await invite(tenant, email)
  const page = await open(link)
  await page.waitForSelector('form:not([hidden])')
  t.match(
    await page.evaluate(`document.querySelector('#about').textContent`),
    new RegExp(`to join ${long} as Basic`),
  )
  await fill(page, 'Email', email)
  await fill(page, 'Password', 'something else')
  t.match(await press(page, 'Accept'), /no account with this email address and password/)
  await fill(page, 'Password', password)
  t.match(await press(page, 'Accept'), /Confirm your email address first.* Then accept here/)
  t.ok(await page.$('#again:not([hidden]) a[href="email/resend"]'))
  await prove(email)
  asked.length = 0
  t.equal(await pressTwice(page), 'You are a member now. You can sign in.')
  t.strictSame([posts('/auth/login'), posts('/auth/logout')], [1, 1], 'and no session is left')
  t.strictSame(await rolesOf(email, password), ['Basic'])

  await page.goto(link)
  await page.waitForSelector('form[hidden]')
  t.match(await saysOf(page), /was used, declined or taken back; ask for another one/)
})

t.test('who has none signs up there, with keys alone', withChromium, async (t) => {
  const page = await open(await invite(await newTenant(), 'grace@example.com', 'Admin'))
  await page.waitForSelector('form:not([hidden])')
  const { keyboard } = page
  for (const text of ['', 'grace@example.com', 'short', 'Grace', 'Hopper']) {
    await keyboard.press('Tab')
    if (text === '') await keyboard.press('Space')
    else await keyboard.type(text)
  }
  await keyboard.press('Tab')
  t.equal(await page.evaluate('document.activeElement.value'), 'accept')
  t.equal(await page.evaluate('document.forms[0].password.autocomplete'), 'new-password')
  await keyboard.press('Enter')
  // Too short: it is asked for again.
  await page.waitForSelector('[name=password]:focus')
  await keyboard.type(' violet anchors')
  await keyboard.press('Enter')
  t.equal(await saysOf(page), 'You are a member now. You can sign in.')
  t.strictSame(await rolesOf('grace@example.com', 'short violet anchors'), ['Admin'])
})

t.test('who does not want to declines, and is no member', withChromium, async (t) => {
  const { email, password } = await signUp()
  await prove(email)
  const page = await open(await invite(await newTenant(), email))
  await fill(page, 'Email', email)
  await page.locator('::-p-aria([name="Decline"][role="button"])').click()
  await page.waitForSelector('[name=password]:focus')
  await fill(page, 'Password', password)
  t.equal(await press(page, 'Decline'), 'You have declined the invitation.')
  t.strictSame(await rolesOf(email, password), [])
})

t.test('with keys alone an address is confirmed and a password is set', withChromium, async (t) => {
  const { email } = await signUp()
  const page = await open(await linkFor(email, '/auth/email/verify'))
  await page.keyboard.press('Tab')
  await page.keyboard.press('Enter')
  t.match(await saysOf(page), /is confirmed/)
  await call('POST', '/auth/password/forgot', { body: { email } })
  await page.goto(await linkFor(email, '/auth/password/reset'))
  await page.waitForSelector('input:focus')
  await page.keyboard.type('violet anchors rest')
  await page.keyboard.press('Enter')
  t.match(await saysOf(page), /password is set/)
})

t.test('without scripts a page says so, and sends nothing', withChromium, async (t) => {
  const { page, faults } = await chromium.open()
  await page.setJavaScriptEnabled(false)
  await page.goto(`${origin}/auth/password/reset`)
  t.ok(await page.$('noscript p'))
  await page.type('input', 'violet anchors rest')
  await page.keyboard.press('Enter')
  const isStopped = () => faults.some((fault) => fault.includes("form-action 'none'"))
  await until(async () => isStopped() || asked.length > 1)
  t.equal(page.url(), `${origin}/auth/password/reset`)
  t.notOk(asked.some(({ what }) => what !== 'GET /auth/password/reset'))
  await page.browserContext().close()
})

/** In the page: tries what injected markup would, and answers which rules of the policy stopped it. */
const misuse = `async (elsewhere) => {
    const broken = new Set()
    let formWasStopped
    const stopped = new Promise((resolve) => { formWasStopped = resolve })
    document.addEventListener('securitypolicyviolation', ({ effectiveDirective: directive }) => {
      broken.add(directive)
      if (directive === 'form-action') formWasStopped()
    })
    const add = (name, attributes) => document.body.appendChild(Object.assign(document.createElement(name), attributes))
    add('script', { textContent: 'window.taken = true' })
    add('base', { href: elsewhere + '/' })
    add('style', { textContent: 'body { display: none }' })
    await new Promise((resolve) => add('img', { src: elsewhere + '/image', onload: resolve, onerror: resolve }))
    await new Promise((resolve) => add('script', { src: elsewhere + '/script', onload: resolve, onerror: resolve }))
    await fetch(elsewhere + '/fetch', { mode: 'no-cors' }).catch(() => {})
    add('form', { action: elsewhere + '/form' }).submit()
    await stopped
    return [...broken, window.taken ?? 'untaken'].sort()
}`
const everyRule = [
  'base-uri',
  'connect-src',
  'form-action',
  'img-src',
  'script-src-elem',
  'style-src-elem',
  'untaken',
]

/** Somebody else's site, with one of our pages in a frame. */
const startElsewhere = async (t: Test): Promise<{ address: string; heard: string[] }> => {
  const heard: string[] = []
  const server = createServer((request, response) => {
    heard.push(String(request.url))
    response
      .setHeader('content-type', 'text/html')
      .end(`<iframe src="${origin}/auth/password/reset"></iframe>`)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  return { address: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, heard }
}

t.test('what gets into a page does nothing, and no page frames it', withChromium, async (t) => {
  const { address, heard } = await startElsewhere(t)
  const { page } = await chromium.open()
  for (const path of ['password/reset', 'invitation']) {
    await page.goto(`${origin}/auth/${path}#token=x`)
    const broken = page.evaluate(`(${misuse})('${address}')`)
    t.strictSame(await broken, everyRule)
  }
  t.strictSame(heard, [])
  await page.goto(address)
  t.match(page.frames()[1]?.url(), /^chrome-error:/)
  await page.browserContext().close()
})
