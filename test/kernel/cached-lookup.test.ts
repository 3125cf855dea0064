import { setImmediate } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { CachedLookup } from '../../src/kernel/cached-lookup.ts'

/** A look-up whose answers are given by hand. */
const byHand = () => {
  const asked: { key: string; answer: (value: string | undefined) => void; fail: (error: Error) => void }[] =
    []
  const state = { fresh: true }
  const lookup = new CachedLookup<string>({
    find: (key) => new Promise((resolve, reject) => asked.push({ key, answer: resolve, fail: reject })),
    max: 3,
    ttlMs: 60_000,
    missingTtlMs: 60_000,
    missingMax: 3,
    isFresh: () => state.fresh,
  })
  return { lookup, asked, state }
}

t.test('many who ask at once share one look-up, and then nobody asks again', async (t) => {
  const { lookup, asked } = byHand()
  const answers = Promise.all([lookup.get('a'), lookup.get('a'), lookup.get('a')])
  asked[0]?.answer('one')
  t.strictSame(await answers, ['one', 'one', 'one'])
  t.equal(await lookup.get('a'), 'one')
  t.equal(asked.length, 1)
  t.equal(lookup.peek('a'), 'one')
})

t.test('an answer read before an invalidation is neither kept nor returned', async (t) => {
  const { lookup, asked } = byHand()
  const early = lookup.get('a')
  lookup.invalidate('a')
  const late = lookup.get('a')
  asked[0]?.answer('old')
  asked[1]?.answer('new')
  t.strictSame(await Promise.all([early, late]), ['new', 'new'])
  t.equal(await lookup.get('a'), 'new')
  t.equal(asked.length, 2)
})

t.test('a failed look-up fails for those who wait, and the next one tries again', async (t) => {
  const { lookup, asked } = byHand()
  const waiting = [lookup.get('a'), lookup.get('a')]
  asked[0]?.fail(new Error('down'))
  for (const wait of waiting) await t.rejects(wait, /down/)
  const again = lookup.get('a')
  asked[1]?.answer('up')
  t.equal(await again, 'up')
})

t.test('"there is none" is remembered too, in bounded memory', async (t) => {
  const { lookup, asked } = byHand()
  for (const key of ['a', 'b', 'c', 'd']) {
    const missing = lookup.get(key)
    asked.at(-1)?.answer(undefined)
    t.equal(await missing, undefined)
  }
  t.equal(await lookup.get('d'), undefined)
  t.equal(asked.length, 4)
  void lookup.get('a')
  t.equal(asked.length, 5, 'the oldest was forgotten')
  lookup.invalidate('d')
  void lookup.get('d')
  t.equal(asked.length, 6, 'an invalidation ends it')
})

t.test('while invalidations may be lost, nothing remembered is believed', async (t) => {
  const { lookup, asked, state } = byHand()
  const first = lookup.get('a')
  asked[0]?.answer('old')
  await first
  state.fresh = false
  t.equal(lookup.peek('a'), undefined)
  const second = lookup.get('a')
  asked[1]?.answer('new')
  t.equal(await second, 'new')
})

t.test('invalidateWhere forgets what matches and nothing else', async (t) => {
  const { lookup, asked } = byHand()
  for (const key of ['a:1', 'a:2', 'b:1']) {
    const wait = lookup.get(key)
    asked.at(-1)?.answer(key)
    await wait
  }
  lookup.invalidateWhere((key) => key.startsWith('a:'))
  t.strictSame([lookup.peek('a:1'), lookup.peek('a:2'), lookup.peek('b:1')], [undefined, undefined, 'b:1'])
})

/** Moves the time that entries are used at; how long they are kept goes by another clock. */
const later = (t: Test, ms: number): void => {
  const now = Date.now
  Date.now = () => now() + ms
  t.teardown(() => {
    Date.now = now
  })
}

/** A remembered answer, and what was asked. */
const remembering = async () => {
  const all = byHand()
  const first = all.lookup.get('a')
  all.asked[0]?.answer('old')
  await first
  return all
}

t.test('what is in use is looked up again in good time, and nobody waits', async (t) => {
  const { lookup, asked } = await remembering()
  later(t, 29_000)
  t.equal(lookup.peek('a'), 'old')
  t.equal(asked.length, 1, 'not before half of its time')
  later(t, 17_000)
  t.equal(lookup.peek('a'), 'old')
  t.equal(lookup.peek('a'), 'old')
  t.equal(await lookup.get('a'), 'old')
  t.equal(asked.length, 2)
  asked[1]?.answer('new')
  await setImmediate()
  later(t, 2_000)
  t.equal(lookup.peek('a'), 'new')
  t.equal(asked.length, 2, 'once')
})

t.test('when that fails, the old answer stays, and it is tried again some time later', async (t) => {
  const { lookup, asked } = await remembering()
  later(t, 46_000)
  t.equal(lookup.peek('a'), 'old')
  asked[1]?.fail(new Error('down'))
  await setImmediate()
  later(t, 2_000)
  t.equal(lookup.peek('a'), 'old')
  t.equal(asked.length, 2)
  later(t, 5_000)
  t.equal(lookup.peek('a'), 'old')
  t.equal(asked.length, 3)
})

t.test('what is gone by then is forgotten', async (t) => {
  const { lookup, asked } = await remembering()
  later(t, 46_000)
  t.equal(lookup.peek('a'), 'old')
  asked[1]?.answer(undefined)
  await setImmediate()
  t.equal(lookup.peek('a'), undefined)
  t.equal(await lookup.get('a'), undefined)
  t.equal(asked.length, 2)
})

t.test('an invalidation while it is looked up again counts as ever', async (t) => {
  const { lookup, asked } = await remembering()
  later(t, 46_000)
  t.equal(lookup.peek('a'), 'old')
  lookup.invalidate('a')
  t.equal(lookup.peek('a'), undefined)
  asked[1]?.answer('before the change')
  await setImmediate()
  t.equal(lookup.peek('a'), undefined)
  asked[2]?.answer('new')
  t.equal(await lookup.get('a'), 'new')
})

t.test('whoever asks while invalidations may be lost does not join a look-up from before', async (t) => {
  const { lookup, asked, state } = await remembering()
  later(t, 46_000)
  t.equal(lookup.peek('a'), 'old')
  state.fresh = false
  const both = Promise.all([lookup.get('a'), lookup.get('a')])
  t.equal(asked.length, 3, 'but they share one')
  asked[2]?.answer('new')
  t.strictSame(await both, ['new', 'new'])
  state.fresh = true
  asked[1]?.answer('before the change')
  await setImmediate()
  t.equal(lookup.peek('a'), 'new')
})

t.test('no more than fifty are looked up in advance at a time', async (t) => {
  const asked: ((value: string) => void)[] = []
  const lookup = new CachedLookup<string>({
    find: () => new Promise((resolve) => asked.push(resolve)),
    ...{ max: 100, ttlMs: 60_000, missingTtlMs: 60_000, missingMax: 3, isFresh: () => true },
  })
  const keys = Array.from({ length: 80 }, (_, n) => String(n))
  const all = Promise.all(keys.map((key) => lookup.get(key)))
  for (const answer of asked.splice(0)) answer('old')
  await all
  later(t, 46_000)
  for (const key of keys) t.equal(lookup.peek(key), 'old')
  t.equal(asked.length, 50)
  for (const answer of asked.splice(0)) answer('new')
  await setImmediate()
  later(t, 7_000)
  for (const key of keys) lookup.peek(key)
  t.equal(asked.length, 30, 'the others somewhat later')
})
