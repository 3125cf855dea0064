/**
 * A Freehold process as far as the embedded server goes: `node fixture.ts '{"dataDir": …}'` starts it, prints one line of
 * JSON (what happened), and stops it on SIGTERM. With `uid` it becomes that user first, as the program itself is perhaps
 * not readable for them. SIGINT is left for the tests of Ctrl-C.
 */
import { startEmbeddedPostgres } from '../../src/embedded-postgres/embedded-postgres.ts'
import { OperatorError } from '../../src/kernel/errors.ts'

const { uid, ...options } = JSON.parse(process.argv[2] ?? '')
process.on('SIGINT', () => undefined)
if (uid !== undefined) {
  process.setgroups?.([])
  process.setgid?.(uid)
  process.setuid?.(uid)
}
try {
  const { stop, ...server } = await startEmbeddedPostgres(options)
  process.on('SIGTERM', () => void stop().then(() => process.exit(0)))
  console.log(JSON.stringify({ server }))
} catch (error) {
  const lines = error instanceof OperatorError ? error.lines : undefined
  console.log(JSON.stringify({ lines, error: String(error) }))
}
