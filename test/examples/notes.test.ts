import { execFile } from 'node:child_process'
import {
  chmod,
  cp,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  realpath,
  rename,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { nodeApart } from '../helpers/apart.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
const example = join(root, 'examples/notes')
const run = promisify(execFile)

type Line = { file: string; below?: string; instead?: string; line: string }

/** A copy of this tree with the example in it, as docs/build-on-freehold.md says to put it there. */
const buildOn = async (): Promise<string> => {
  const copy = await realpath(await mkdtemp(join(tmpdir(), 'test-freehold-example-')))
  await chmod(copy, 0o711)
  t.teardown(() => rm(copy, { recursive: true, force: true, maxRetries: 5 }))
  const parts = ['src', 'scripts', 'migrations-master', 'migrations-tenant', 'package.json', 'tsconfig.json']
  for (const part of [...parts, 'test/helpers']) {
    await cp(join(root, part), join(copy, part), { recursive: true })
  }
  await symlink(await realpath(join(root, 'node_modules')), join(copy, 'node_modules'))
  const next = String((await readdir(join(copy, 'migrations-tenant'))).length + 1).padStart(4, '0')
  for (const part of ['src', 'test', 'migrations-tenant']) {
    await cp(join(example, part), join(copy, part), { recursive: true })
  }
  await rename(join(copy, 'migrations-tenant/notes.sql'), join(copy, `migrations-tenant/${next}_notes.sql`))
  for (const { file, below, instead, line } of await lines()) {
    const text = await readFile(join(copy, file), 'utf8')
    const [before, after, ...more] = text.split(instead ?? `${below}\n`)
    if (before === undefined || after === undefined || more.length > 0)
      throw new Error(`no one place in ${file}`)
    const added = instead === undefined ? `${below}\n${line}\n` : line
    await writeFile(join(copy, file), before + added + after)
  }
  return copy
}

const lines = async (): Promise<Line[]> => JSON.parse(await readFile(join(example, 'lines.json'), 'utf8'))

t.test('the example of docs/build-on-freehold.md compiles, and its test passes', async (t) => {
  const copy = await buildOn()
  await mkdir(join(copy, 'tmp'), { mode: 0o711 })
  // Servers that this run has made ready are of our own schema, not of the example's.
  const { NODE_OPTIONS: _, FREEHOLD_TEST_RUN: __, ...env } = process.env
  const inCopy = (program: string, ...args: string[]) =>
    run(program, args, { cwd: copy, env: { ...env, TMPDIR: join(copy, 'tmp') }, maxBuffer: 2 ** 26 }).catch(
      ({ stdout, stderr }) => t.fail(`${args.join(' ')}\n${stdout}${stderr}`),
    )
  const [node, ...first] = nodeApart
  await inCopy(node, ...first, 'scripts/write-types.ts')
  await inCopy(node, ...first, 'node_modules/typescript/bin/tsc')
  await inCopy(node, ...first, 'test/tenant/notes/notes.test.ts')
  t.pass('all of it ran')
})

t.test('docs/build-on-freehold.md shows the example as it is', async (t) => {
  const page = await readFile(join(root, 'docs/build-on-freehold.md'), 'utf8')
  const shown = [
    'migrations-tenant/notes.sql',
    'src/tenant/notes/routes.ts',
    'src/tenant/jobs/types/count-words.ts',
  ]
  for (const path of shown) t.ok(page.includes(await readFile(join(example, path), 'utf8')), path)
  for (const { line } of await lines()) t.ok(page.includes(line.trim()), line)
})
