import t from 'tap'
import { createLogger } from '../../src/kernel/log.ts'

/** A logger and the lines it has written. */
const listen = () => {
  const lines: string[] = []
  return { log: createLogger('trace', { write: (line) => void lines.push(line) }), lines }
}

t.test('fields that hold secrets are redacted, also inside of others', async (t) => {
  const { log, lines } = listen()
  log.info({
    password: 'canary',
    body: { refreshToken: 'canary', name: 'kept' },
    a: { b: { secret: 'canary' } },
  })
  log.info({ req: { headers: { authorization: 'Bearer canary', cookie: 'canary' } } })
  t.notMatch(lines.join(''), /canary/)
  t.match(lines.join(''), /kept/)
})

t.test('of an error only what is named goes into the log: no client, no row, no parameter', async (t) => {
  const { log, lines } = listen()
  const cause = Object.assign(new Error('duplicate key'), {
    code: '23505',
    detail: 'Key (email)=(canary) already exists.',
    client: { connectionParameters: { password: 'canary' } },
    parameters: ['canary'],
  })
  log.error({ err: new Error('it failed', { cause }) }, 'failed')
  log.error({ err: 'canary' })
  const text = lines.join('')
  t.notMatch(text, /canary/)
  t.match(JSON.parse(lines[0] ?? ''), {
    err: { message: 'it failed', cause: { message: 'duplicate key', code: '23505' } },
  })
})

t.test('an error that causes itself ends', async (t) => {
  const { log, lines } = listen()
  const error = new Error('round')
  error.cause = error
  log.error({ err: error })
  t.equal(lines.length, 1)
})
