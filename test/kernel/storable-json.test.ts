import t from 'tap'
import { whyNotStorable } from '../../src/kernel/storable-json.ts'

const nested = (levels: number): unknown => {
  let value: unknown = 1
  for (let level = 0; level < levels; level += 1) value = [value]
  return value
}

t.test('what can be stored is', async (t) => {
  const numbers = [0, -0, 1.5, 1e20, -1e20, 1e-20, Number.MAX_SAFE_INTEGER]
  for (const value of [null, true, 'text \u{1f600}', '', numbers, { a: { 'b c': [] } }, nested(3)]) {
    t.equal(whyNotStorable(value, 3), undefined, JSON.stringify(value))
  }
})

t.test('what Postgres would refuse, or write out at length, is named', async (t) => {
  const text = 'holds text that cannot be stored'
  const digits = 'holds a number of too many digits'
  const refused: [unknown, string][] = [
    ['\0', text],
    [{ a: ['\ud800'] }, text],
    [{ 'a\0': 1 }, text],
    ...[1e21, -1e308, 1e-21, Number.POSITIVE_INFINITY, Number.NaN].map((n): [unknown, string] => [
      [n],
      digits,
    ]),
    [nested(4), 'has more than 3 levels'],
  ]
  for (const [value, reason] of refused) t.equal(whyNotStorable(value, 3), reason)
})

t.test('nothing is too deep to be looked at', async (t) => {
  t.equal(whyNotStorable(nested(200_000), 64), 'has more than 64 levels')
})
