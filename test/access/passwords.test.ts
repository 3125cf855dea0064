import t from 'tap'
import { createPasswords } from '../../src/access/passwords.ts'
import { isAppError } from '../../src/kernel/errors.ts'

const passwords = await createPasswords()

t.test('a password verifies against its own hash and no other', async (t) => {
  const [a, b] = [await passwords.hash('first password'), await passwords.hash('first password')]
  t.not(a, b, 'salted')
  t.ok(await passwords.verify(a, 'first password'))
  t.notOk(await passwords.verify(a, 'second password'))
})

t.test('without a stored hash nothing verifies', async (t) => {
  t.notOk(await passwords.verify(undefined, 'x'))
  t.notOk(await passwords.verify(null, 'no password is ever checked against this one'))
})

t.test('a storm is bounded: the excess is refused, the rest is served', async (t) => {
  const results = await Promise.allSettled(
    Array.from({ length: 230 }, () => passwords.verify(undefined, 'x')),
  )
  const refused = results.filter((r) => r.status === 'rejected')
  t.ok(refused.length > 0)
  t.ok(refused.every((r) => isAppError(r.reason, 'overloaded')))
  t.equal(results.filter((r) => r.status === 'fulfilled').length, 202)
  t.notOk(await passwords.verify(undefined, 'x'), 'and it goes on')
})
