import fc from 'fast-check'
import t from 'tap'
import { openMailbox } from '../../helpers/mailbox.ts'
import { startTestPostgres } from '../../helpers/postgres.ts'
import { makeSecrets, startSecretWorld } from './secret-kinds.ts'

const world = await startSecretWorld(t, await startTestPostgres(t), await openMailbox(t))
const { secrets, endpoints } = await makeSecrets(world)

const isRefusal = (status: number): boolean => [400, 401, 403, 404, 410].includes(status)

// The order matters: what must not work is tried first, so that the last test shows that it has spent nothing.
t.test('every kind of secret at every endpoint: off the diagonal none works', async (t) => {
  t.equal(new Set(Object.values(secrets)).size, Object.keys(secrets).length)
  for (const [kind, secret] of Object.entries(secrets)) {
    t.ok(secret.length > 20, `there is a secret: ${kind}`)
    for (const [name, { takes, present }] of Object.entries(endpoints)) {
      if (takes.includes(kind)) continue
      const { status, text } = await present(secret)
      t.ok(isRefusal(status), `${kind} at ${name}: ${status} ${text}`)
      t.notOk(text.includes(secret), 'and is not repeated')
    }
  }
})

/** A secret cut, lengthened, with another prefix, in other letters, or with something in it. */
const spoiled = (secret: string): fc.Arbitrary<string> =>
  fc
    .oneof(
      fc.nat(secret.length - 1).map((length) => secret.slice(0, length)),
      fc.nat(secret.length - 1).map((from) => secret.slice(from + 1)),
      fc.string({ minLength: 1, maxLength: 20 }).map((more) => secret + more),
      fc.string({ minLength: 1, maxLength: 20 }).map((more) => more + secret),
      fc.constantFrom('=', 'A', ' ', '\n', '\t', '.', '%00', '\u200b').map((end) => secret + end),
      fc.constantFrom(...Object.values(secrets)).map((other) => other.slice(0, 4) + secret.slice(4)),
      fc.constantFrom(secret.toUpperCase(), secret.toLowerCase(), [...secret].reverse().join('')),
      fc
        .tuple(fc.nat(secret.length - 1), fc.constantFrom(...'ABab01-_+/= '))
        .map(([at, letter]) => secret.slice(0, at) + letter + secret.slice(at + 1)),
    )
    .filter((text) => text !== secret && text.trim() !== secret)

t.test(
  'a secret that is cut, lengthened or changed anywhere is none, at the very place that takes it',
  async (t) => {
    for (const [name, { takes, present }] of Object.entries(endpoints)) {
      for (const kind of takes) {
        const property = fc.asyncProperty(spoiled(secrets[kind] ?? ''), async (text) =>
          isRefusal((await present(text)).status),
        )
        // Each guess at a password costs 30 ms of argon2.
        await t.resolves(
          fc.assert(property, { numRuns: kind === 'password' ? 10 : 20 }),
          `${kind} at ${name}`,
        )
      }
    }
  },
)

t.test('on the diagonal each works: no wrong try has spent it', async (t) => {
  for (const [name, { takes, present }] of Object.entries(endpoints)) {
    for (const kind of takes) {
      const { status, text } = await present(secrets[kind] ?? '')
      t.match(String(status), /^20[0124]$/, `${kind} at ${name}: ${text}`)
    }
  }
})
