import fc from 'fast-check'
import t from 'tap'
import { createSecretBox, keyIdOf, randomSecret, sameBytes, scramVerifier } from '../../src/kernel/crypto.ts'

const box = createSecretBox(Buffer.alloc(32, 1))

t.test('what was sealed opens again, whatever it is', async () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.string(), (plain, context) =>
      box.open(box.seal(plain, context), context).equals(plain),
    ),
  )
})

t.test('the same text never seals to the same bytes', async (t) => {
  t.notSame(box.seal('x', 'c'), box.seal('x', 'c'))
})

t.test('a changed bit, another context or another key does not open', async (t) => {
  const sealed = box.seal('a secret', 'database:1')
  fc.assert(
    fc.property(fc.nat(sealed.length * 8 - 1), (bit) => {
      const changed = Buffer.from(sealed)
      const at = Math.floor(bit / 8)
      changed[at] = (changed[at] ?? 0) ^ (1 << (bit % 8))
      try {
        box.open(changed, 'database:1')
        return false
      } catch {
        return true
      }
    }),
  )
  t.throws(() => box.open(sealed, 'database:2'))
  t.throws(() => createSecretBox(Buffer.alloc(32, 2)).open(sealed, 'database:1'), /another master key/)
  t.throws(() => box.open(sealed.subarray(0, 20), 'database:1'), /not a sealed value/)
})

t.test('a box that knows two keys opens with both and seals with one, whichever it is told', async (t) => {
  const second = createSecretBox(Buffer.alloc(32, 2))
  const both = createSecretBox(Buffer.alloc(32, 1), Buffer.alloc(32, 2))
  const sealed = [box, second].map((each) => each.seal('a secret', 'c'))
  t.strictSame(
    sealed.map((each) => both.open(each, 'c').toString()),
    ['a secret', 'a secret'],
  )
  t.equal(keyIdOf(both.seal('x', 'c')), box.keyId)
  both.sealUnder(second.keyId)
  t.equal(keyIdOf(both.seal('x', 'c')), second.keyId)
  t.equal(second.open(both.seal('x', 'c'), 'c').toString(), 'x')
  t.throws(() => both.sealUnder(createSecretBox(Buffer.alloc(32, 3)).keyId), /another master key/)
  both.learn([Buffer.alloc(32, 3)])
  t.equal(both.keyIds.length, 3)
  t.equal(both.keyId, second.keyId, 'to know a key is not to seal with it')
})

t.test('a master key has 32 bytes', async (t) => {
  t.throws(() => createSecretBox(Buffer.alloc(16)), TypeError)
})

t.test('the SCRAM verifier is what Postgres itself would store', async (t) => {
  // RFC 7677, section 3: the keys of user "user" with password "pencil" and this salt.
  const salt = Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64')
  t.equal(
    scramVerifier('pencil', 4096, salt),
    'SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=',
  )
})

t.test('secrets are 256 bits, and comparing tells nothing of where they differ', async (t) => {
  t.match(randomSecret(), /^[A-Za-z0-9_-]{43}$/)
  t.not(randomSecret(), randomSecret())
  t.ok(sameBytes(Buffer.from('abc'), Buffer.from('abc')))
  t.notOk(sameBytes(Buffer.from('abc'), Buffer.from('abd')))
  t.notOk(sameBytes(Buffer.from('abc'), Buffer.from('ab')))
})
