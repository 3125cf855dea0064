import fc from 'fast-check'
import t from 'tap'
import { databaseName, databaseNamePattern, isUuid, newId, ownerRoleName } from '../../src/kernel/ids.ts'

t.test('ids are UUIDv7 and sort by the time they were made', async (t) => {
  const ids = Array.from({ length: 1000 }, newId)
  t.strictSame([...ids].sort(), ids)
  for (const id of ids.slice(0, 10)) t.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-/)
})

t.test('database names are opaque, permanent, different for different ids, and fit Postgres', async (t) => {
  fc.assert(
    fc.property(fc.uuid(), fc.uuid(), (a, b) => {
      const [first, second] = [databaseName(a), databaseName(b)]
      return databaseNamePattern.test(first) && first === databaseName(a) && (a === b) === (first === second)
    }),
  )
  t.ok(ownerRoleName(databaseName(newId())).length <= 63)
  t.equal(databaseName('00000000-0000-0000-0000-000000000000'), `t_${'a'.repeat(26)}`)
  t.equal(databaseName('ffffffff-ffff-ffff-ffff-ffffffffffff'), `t_${'7'.repeat(25)}4`)
})

t.test('only a whole UUID is one', async (t) => {
  for (const text of ['', 'x', `${newId()}x`, newId().slice(1), `{${newId()}}`]) t.notOk(isUuid(text), text)
})
