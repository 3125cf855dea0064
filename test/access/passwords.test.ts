import { lookup } from 'node:dns/promises'
import { readdir, readFile } from 'node:fs/promises'
import { getPriority } from 'node:os'
import { hash } from 'argon2'
import t from 'tap'
import { loadCommonPasswords } from '../../src/access/common-passwords.ts'
import { concurrent, createPasswords } from '../../src/access/passwords.ts'
import { isAppError } from '../../src/kernel/errors.ts'

const waiting = 40
const passwords = await createPasswords({ mostWaiting: waiting })

t.test('a password verifies against its own hash and no other', async (t) => {
  const [a, b] = [await passwords.hash('first password'), await passwords.hash('first password')]
  t.not(a, b, 'salted')
  t.match(a, /^\$argon2id\$v=19\$m=19456,(t=2,p=1|p=1,t=2)\$/)
  t.ok(await passwords.verify(a, 'first password'))
  t.notOk(await passwords.verify(a, 'second password'))
})

t.test('without a stored hash nothing verifies', async (t) => {
  t.notOk(await passwords.verify(undefined, 'x'))
  t.notOk(await passwords.verify(null, 'no password is ever checked against this one'))
})

t.test('a storm is bounded: the excess is told when to come again, the rest is served', async (t) => {
  const served = concurrent + waiting
  const results = await Promise.allSettled(
    Array.from({ length: served + 20 }, () => passwords.verify(undefined, 'x')),
  )
  const refused = results.filter((r) => r.status === 'rejected')
  t.equal(refused.length, 20)
  t.ok(refused.every((r) => isAppError(r.reason, 'overloaded') && r.reason.retryAfter === 3))
  t.equal(results.filter((r) => r.status === 'fulfilled').length, served)
  t.notOk(await passwords.verify(undefined, 'x'), 'and it goes on')
})

t.test('names and files are found while a storm goes on: a thread of libuv is left for them', async (t) => {
  let left = 40
  const storm = Array.from({ length: left }, () =>
    passwords.verify(undefined, 'x').then(() => {
      left -= 1
    }),
  )
  await Promise.all([lookup('localhost'), readFile(new URL(import.meta.url))])
  t.ok(left > 20, 'they did not wait for the storm to pass')
  t.ok(concurrent < 4)
  await Promise.all(storm)
})

t.test('a hash of other parameters is outdated', async (t) => {
  t.notOk(passwords.isOutdated(await passwords.hash('x')))
  t.ok(passwords.isOutdated(await hash('x', { memoryCost: 8192, timeCost: 1, parallelism: 1 })))
})

t.test('the passwords that everybody tries first are known, thousands of them', async (t) => {
  const isCommon = await loadCommonPasswords()
  for (const password of ['password', 'PASSWORD', '123456789', 'qwertyuiop', 'iloveyou', 'football1']) {
    t.ok(isCommon(password), password)
  }
  for (const password of ['', 'correct horse battery', '# The most common passwords'])
    t.notOk(isCommon(password))
  const text = await readFile(new URL('../../src/access/common-passwords.txt', import.meta.url), 'utf8')
  const list = text
    .slice(text.indexOf('\n\n') + 2)
    .trimEnd()
    .split('\n')
  t.ok(list.length > 8000)
  t.ok(list.every((password) => password.length >= 8 && password === password.toLowerCase()))
})

t.test(
  'the threads that hash give way to the one that answers requests',
  { skip: process.platform !== 'linux' && 'only Linux has a priority for each thread' },
  async (t) => {
    const niceness = new Map<string, number[]>()
    for (const id of await readdir('/proc/self/task')) {
      const name = (await readFile(`/proc/self/task/${id}/comm`, 'utf8')).trim()
      niceness.set(name, [...(niceness.get(name) ?? []), getPriority(Number(id))])
    }
    const mine = getPriority()
    t.strictSame(niceness.get('libuv-worker'), Array(4).fill(Math.min(19, mine + 10)))
  },
)
