import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'

/**
 * Everything that can be said of the code without running it: types, lint and format, and which room imports which. Side by
 * side, because each of the first two takes one processor; what a check says stays together. Ends with 1 unless all pass.
 */

const color = process.stdout.isTTY && process.env.NO_COLOR === undefined

const checks = [
  ['types', 'tsc', ...(color ? ['--pretty'] : [])],
  ['lint and format', 'biome', 'ci', '--error-on-warnings', `--colors=${color ? 'force' : 'off'}`, '.'],
  ['rooms', process.execPath, 'test/architecture/rooms.test.ts'],
] as const

const run = async ([name, command, ...args]: (typeof checks)[number]): Promise<boolean> => {
  const begun = performance.now()
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  const [out, err, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')])
  const seconds = ((performance.now() - begun) / 1_000).toFixed(1)
  if (code !== 0) console.error(`${out}${err}`)
  console.log(`${code === 0 ? 'ok' : 'not ok'}  ${name}  ${seconds} s`)
  return code === 0
}

const passed = await Promise.all(checks.map(run))
process.exitCode = passed.every(Boolean) ? 0 : 1
