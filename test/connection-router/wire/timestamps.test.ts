import fc from 'fast-check'
import pg from 'pg'
import t from 'tap'
import { readTimestamp } from '../../../src/connection-router/wire/timestamps.ts'

const driver: (text: string) => unknown = pg.types.getTypeParser(pg.types.builtins.TIMESTAMPTZ, 'text')

const digits = (value: number, width: number): string => String(value).padStart(width, '0')

t.test('a timestamp is read as the driver reads it, to the millisecond', (t) => {
  const fraction = fc.oneof(
    fc.constant(''),
    fc
      .integer({ min: 1, max: 6 })
      .chain((width) =>
        fc.integer({ min: 0, max: 10 ** width - 1 }).map((value) => `.${digits(value, width)}`),
      ),
  )
  const [min, max] = [new Date('0100-01-01T00:00:00Z'), new Date('9999-12-31T23:59:59Z')]
  const day = fc.date({ min, max, noInvalidDate: true })
  fc.assert(
    fc.property(day, fraction, (date, part) => {
      const whole = date.toISOString().slice(0, 19).replace('T', ' ')
      const text = `${whole}${part}+00`
      const own = readTimestamp(text)
      return own !== undefined && own.getTime() === Math.trunc((driver(text) as Date).getTime())
    }),
    { numRuns: 2_000 },
  )
  t.end()
})

t.test('every other form is left to the driver', (t) => {
  for (const text of [
    ...['infinity', '-infinity', '', '+00', '2026-01-31', '2026-01-31 10:00:00', '2026-01-31 10:00:00+02'],
    ...['2026-01-31 10:00:00.5-03:30', '2026-01-31 10:00:00+00 BC', '12026-01-31 10:00:00+00'],
    ...['0044-03-15 10:00:00+00', '2026-01-31 10:00:00.1234567+00', '2026-01-31 1x:00:00+00'],
    ...[
      '2026/01/31 10:00:00+00',
      '2026-01-31T10:00:00+00',
      '2026-01-31 10:00:00,5+00',
      '2026-01-31 10:00:00.x+00',
    ],
  ]) {
    t.equal(readTimestamp(text), undefined, text)
  }
  t.end()
})
