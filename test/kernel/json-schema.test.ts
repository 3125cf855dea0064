import t from 'tap'
import { Type } from 'typebox'
import { checkerOf } from '../../src/kernel/json-schema.ts'

t.test('a checker names each fault by its place, and leaves the value as it is', async (t) => {
  const check = checkerOf(
    Type.Object(
      { name: Type.String(), limit: Type.Optional(Type.Integer({ default: 10 })) },
      { additionalProperties: false },
    ),
  )
  const value = { name: 'a' }
  t.same(check(value), [])
  t.strictSame(value, { name: 'a' }, 'no default is filled in')
  t.same(check({ limit: '1', more: true }), [
    { path: '/name', message: 'is required' },
    { path: '/more', message: 'is not a known field' },
    { path: '/limit', message: 'must be integer' },
  ])
})

t.test('of many faults the first 20 are told', async (t) => {
  const check = checkerOf(Type.Array(Type.Integer()))
  t.equal(check(Array.from({ length: 30 }, () => 'x')).length, 20)
})

t.test('what is no schema is refused when it is given, not when it is first used', async (t) => {
  t.throws(() => checkerOf(Type.String({ pattern: '[' })))
})
