import { sql } from 'kysely'
import t from 'tap'
import { eachLimited } from '../../../src/tenant-manager/context.ts'
import { type Freehold, startNode } from '../../helpers/freehold.ts'
import { openMailbox } from '../../helpers/mailbox.ts'
import { startTestPostgres } from '../../helpers/postgres.ts'

const mailbox = await openMailbox(t)
const postgres = await startTestPostgres(t)
const env = { ...mailbox.env, RATE_LIMITS: 'on', TRUSTED_PROXIES: '192.0.2.0/24' }
const nodes = [await startNode(t, postgres, env), await startNode(t, postgres, env)] as const
const [node, other] = nodes
const { db } = node.service.master

const password = 'correct horse battery'
const home = { address: '198.51.100.7', userAgent: 'Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0' }
let addresses = 0
/** An address that nobody has used before. */
const newAddress = (): string => {
  addresses += 1
  return `10.${addresses >> 16}.${(addresses >> 8) & 255}.${addresses & 255}`
}

type Device = { address: string; userAgent?: string; forwarded?: string }
const post = async (at: Freehold, url: string, body: object, device: Device) => {
  const { address, userAgent = 'guesser', forwarded } = device
  const answer = await at.app.inject({
    method: 'POST',
    url,
    remoteAddress: address,
    headers: {
      'user-agent': userAgent,
      ...(forwarded === undefined ? {} : { 'x-forwarded-for': forwarded }),
    },
    payload: body,
  })
  return { status: answer.statusCode, headers: answer.headers, body: answer.json() }
}
const login = (email: string, guess: string, device: Device, at: Freehold = node) =>
  post(at, '/auth/login', { email, password: guess }, device)

/** A person who has signed up at home. */
let people = 0
const newPerson = async (): Promise<string> => {
  people += 1
  const email = `limited-${people}@example.com`
  const { status } = await post(
    node,
    '/auth/register',
    { email, password, firstName: 'Test' },
    { ...home, address: home.address.replace('100', String(people)) },
  )
  t.equal(status, 201)
  return email
}
const homeOf = (count: number): Device => ({ ...home, address: home.address.replace('100', String(count)) })

/** Guesses a wrong password until the account lets nobody in from elsewhere. */
const exhaust = async (email: string): Promise<void> => {
  for (let guess = 0; guess < 6; guess++) await login(email, 'wrong', { address: newAddress() })
}

/** Counts the passwords that are really checked, on all nodes. */
const countChecks = (): (() => number) => {
  let count = 0
  for (const { service } of nodes) {
    const passwords = service.passwords as { verify: typeof service.passwords.verify }
    const verify = passwords.verify
    passwords.verify = (...args) => {
      count += 1
      return verify(...args)
    }
    t.teardown(() => Object.assign(passwords, { verify }))
  }
  return () => count
}

t.test(
  '1,000 guesses on one account from 200 addresses: at most 10 are checked, and the owner gets in from a known device',
  async (t) => {
    const email = await newPerson()
    const owner = homeOf(people)
    const checks = countChecks()
    const from = Array.from({ length: 200 }, newAddress)
    const statuses: number[] = []
    // So many at once that they race for the burst, and so few that none waits too long for the master.
    await eachLimited(
      Array.from({ length: 1_000 }, (_, guess) => guess),
      40,
      async (guess) => {
        const device = { address: from[guess % 200] ?? '' }
        statuses.push((await login(email, `guess ${guess}`, device, nodes[guess % 2])).status)
      },
    )
    // The burst of 5; each 3 minutes that the test would take may let one more through, at most 5 in 15 minutes.
    t.ok(checks() >= 1 && checks() <= 10, `${checks()} checks`)
    t.equal(statuses.filter((status) => status === 401).length, checks())
    t.equal(statuses.filter((status) => status === 429).length, 1_000 - checks())
    t.equal((await login(email, password, owner)).status, 200)
    t.equal((await login(email, password, owner, other)).status, 200)
    t.equal((await login(email, password, { address: newAddress() })).status, 429, 'the right one elsewhere')
  },
)

t.test('after three minutes of patience one more guess is checked', async (t) => {
  const email = await newPerson()
  await exhaust(email)
  await sql`update rate_limits set full_at = full_at - interval '181 seconds'`.execute(db)
  t.equal((await login(email, 'wrong', { address: newAddress() }, other)).status, 401)
  t.equal((await login(email, 'wrong', { address: newAddress() }, other)).status, 429)
})

t.test('an unknown account is throttled as a known one', async (t) => {
  const known = await newPerson()
  const strip = ({ status, headers, body }: Awaited<ReturnType<typeof login>>) => ({
    status,
    body: { ...body, requestId: '' },
    headers: Object.keys(headers).sort(),
  })
  for (let guess = 0; guess < 7; guess++) {
    const a = await login(known, 'wrong', { address: newAddress() })
    const b = await login('who-is-that@example.com', 'wrong', { address: newAddress() })
    t.strictSame(strip(a), strip(b), `guess ${guess}`)
  }
})

t.test('right passwords use nothing up', async (t) => {
  const email = await newPerson()
  for (let time = 0; time < 12; time++) {
    t.equal((await login(email, password, { ...homeOf(people), address: home.address })).status, 200)
  }
})

t.test('guesses from a known device are limited too, and use up nothing elsewhere', async (t) => {
  const email = await newPerson()
  const device = homeOf(people)
  const statuses = []
  for (let guess = 0; guess < 7; guess++) statuses.push((await login(email, 'wrong', device)).status)
  t.strictSame(statuses, [401, 401, 401, 401, 401, 429, 429])
  t.equal((await login(email, password, { address: newAddress() })).status, 200)
})

t.test('on a new device, a new password by mail lets the owner in while others guess', async (t) => {
  const email = await newPerson()
  await exhaust(email)
  const device = { address: newAddress(), userAgent: 'Firefox' }
  t.equal((await login(email, password, device)).status, 429)
  await post(node, '/auth/password/forgot', { email }, device)
  const mail = (await mailbox.receive(node.service, email)).at(-1)
  const reset = { token: mail?.token, password: 'another horse battery' }
  t.equal(
    (
      await node.app.inject({
        method: 'POST',
        url: '/auth/password/reset',
        remoteAddress: device.address,
        headers: { 'user-agent': device.userAgent },
        payload: reset,
      })
    ).statusCode,
    204,
  )
  t.equal((await login(email, reset.password, device)).status, 200)
})

t.test('the current password of a stolen session cannot be guessed', async (t) => {
  const email = await newPerson()
  const { body } = await login(email, password, homeOf(people))
  const change = () =>
    node.call('PUT', '/auth/password', {
      token: body.accessToken,
      body: { currentPassword: 'a wild guess', newPassword: 'another horse battery' },
    })
  const statuses = []
  for (let guess = 0; guess < 7; guess++) statuses.push((await change()).status)
  t.strictSame(statuses, [401, 401, 401, 401, 401, 429, 429])
})

t.test('one address is limited over all nodes, told so in headers, and others are not', async (t) => {
  const address = newAddress()
  const answers = []
  for (let time = 0; time < 70; time++) {
    answers.push(await login(`nobody-${time}@example.com`, 'wrong', { address }, nodes[time % 2]))
  }
  t.match(answers[0], { status: 401, headers: { 'ratelimit-limit': '60', 'ratelimit-remaining': '59' } })
  const refused = answers.filter(({ status }) => status === 429)
  t.ok(refused.length >= 1, `${refused.length} refused`)
  t.match(refused[0], { headers: { 'ratelimit-remaining': '0' }, body: { code: 'rate_limited' } })
  t.match(refused[0]?.headers['retry-after'], /^[1-5]$/)
  t.match(refused[0]?.headers['ratelimit-reset'], /^\d+$/)
  t.equal((await login('somebody@example.com', 'wrong', { address: newAddress() })).status, 401)
})

t.test('signing in rightly counts for no address: an office is no attack', async (t) => {
  const email = await newPerson()
  const device = homeOf(people)
  for (let time = 0; time < 65; time++) t.equal((await login(email, password, device)).status, 200)
})

t.test('x-forwarded-for is believed of a trusted proxy only', async (t) => {
  const remaining = async (address: string, forwarded: string) => {
    const { headers } = await login('nobody@forwarded.example', 'wrong', { address, forwarded })
    return headers['ratelimit-remaining']
  }
  const stranger = newAddress()
  t.equal(await remaining(stranger, '203.0.113.1'), '59')
  t.equal(await remaining(stranger, '203.0.113.2'), '58', 'a stranger stays who they are')
  t.equal(await remaining('192.0.2.9', '203.0.113.3'), '59')
  t.equal(await remaining('192.0.2.9', '203.0.113.4'), '59', 'two people behind the proxy')
  t.equal(await remaining('192.0.2.9', '203.0.113.5, 203.0.113.4'), '58', 'what the client adds is not asked')
})

t.test('a /64 of IPv6 is one address, however it is written', async (t) => {
  const remaining = async (address: string) =>
    (await login('nobody@six.example', 'wrong', { address })).headers['ratelimit-remaining']
  t.equal(await remaining('2001:db8:1:2::1'), '59')
  t.equal(await remaining('2001:DB8:1:2:ffff::9'), '58')
  t.equal(await remaining('2001:db8:1:3::1'), '59')
})

t.test('at most three mails of a kind go to one address; the answer stays the same', async (t) => {
  const email = await newPerson()
  await mailbox.receive(node.service, email)
  for (let time = 0; time < 6; time++) {
    const { status } = await post(node, '/auth/password/forgot', { email }, { address: newAddress() })
    t.equal(status, 202)
  }
  t.equal((await mailbox.receive(node.service, email)).length, 3)
})

t.test('every public route that takes something under /auth is limited', async (t) => {
  const open = node.routes.filter(
    ({ method, path, access }) => method === 'POST' && path.startsWith('/auth/') && access.scope === 'public',
  )
  t.ok(open.length >= 7)
  for (const { path } of open) {
    const { headers } = await post(node, path, {}, { address: newAddress() })
    t.match(headers['ratelimit-limit'], /^\d+$/, path)
  }
})

t.test(
  'what is typed stands nowhere in the counts, and those that count nothing are tidied away',
  async (t) => {
    await login('canary@example.com', 'canary', { address: newAddress() })
    const rows = await db.selectFrom('rate_limits').selectAll().execute()
    t.ok(rows.length > 0)
    t.notMatch(rows.map(({ key }) => key.toString('latin1')).join(), /canary/)
    await db
      .updateTable('rate_limits')
      .set({ full_at: new Date(0) })
      .execute()
    await node.service.accountTasks['tidy-access']({})
    t.strictSame(await db.selectFrom('rate_limits').selectAll().execute(), [])
  },
)
