import t from 'tap'
import { createReadiness } from '../../../src/control/status/readiness.ts'

t.test('however many ask at once, the parts are asked once', async (t) => {
  let asked = 0
  const gate = Promise.withResolvers<void>()
  const check = async (): Promise<string> => {
    asked += 1
    await gate.promise
    return 'fine'
  }
  const ready = createReadiness([{ name: 'part', check }], () => false)
  const answers = Promise.all(Array.from({ length: 100 }, ready))
  gate.resolve()
  t.strictSame((await answers)[99], [{ name: 'part', ok: true, detail: 'fine' }])
  t.equal(asked, 1)
  await ready()
  t.equal(asked, 2, 'later ones ask anew')
})

t.test('a part that fails is named, and nothing of why', async (t) => {
  const check = () => Promise.reject(new Error('host secret.internal refused'))
  t.strictSame(await createReadiness([{ name: 'part', check }], () => false)(), [
    { name: 'part', ok: false, detail: 'not available' },
  ])
})

t.test('a node that stops is not ready, also for those who asked before', async (t) => {
  let stopping = false
  const gate = Promise.withResolvers<string>()
  const ready = createReadiness([{ name: 'part', check: () => gate.promise }], () => stopping)
  const answer = ready()
  stopping = true
  gate.resolve('fine')
  t.match((await answer)[0], { name: 'process', ok: false })
})
