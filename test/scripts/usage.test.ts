import { copyFile, mkdir, mkdtemp, realpath, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import packageFile from '../../package.json' with { type: 'json' }
import { freeholdOn, launcher, start } from './helpers.ts'

const newFolder = async (t: Test): Promise<string> => {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'test-freehold-cli-')))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  return folder
}

const folder = await newFolder(t)
const dataDir = join(folder, 'data')
const freehold = freeholdOn(dataDir)

const helps: [args: string[], says: RegExp[]][] = [
  [
    ['--help'],
    [/Usage: freehold /, /tenant/, /master/, /doctor/, /--json/, /Exit codes: 0 done, 1 failed, 2/],
  ],
  [[], [/Usage: freehold /, /tenant/]],
  [['tenant'], [/Usage: freehold tenant/, /create/, /list/, /show/]],
  [
    ['tenant', '--help'],
    [/Usage: freehold tenant/, /create/, /list/, /show/],
  ],
  [
    ['tenant', 'create', '--help'],
    [
      ...[
        /<slug>/,
        /--name <name> .*\(required\)/,
        /--admin-email/,
        /--plan .*\(default: free\)\n/,
        /--region/,
      ],
      ...[/--tier/, /--wait/, /--no-wait/, /--json +print JSON\n/],
    ],
  ],
  [
    ['tenant', 'list', '--help'],
    [/--limit/, /--cursor/, /--json/],
  ],
  [
    ['tenant', 'show', '--help'],
    [/<tenant>/, /--json/],
  ],
  [['system-user'], [/Usage: freehold system-user/, /create/, /list/, /rotate/]],
  [
    ['system-user', 'create', '--help'],
    [/--name/, /--email/, /--service-type/, /--tenant/, /--role/, /--json/],
  ],
  [
    ['keys', 'rotate', '--help'],
    [/--master-key/, /--json/],
  ],
  [['master'], [/Usage: freehold master/, /migrate/]],
  [
    ['master', 'migrate', '--help'],
    [/Usage: freehold master migrate/, /--json/],
  ],
  [
    ['doctor', '--help'],
    [/--fix/, /--json/],
  ],
]

t.test('every command explains itself on standard output and exits 0', async (t) => {
  await Promise.all(
    helps.map(async ([args, says]) => {
      const { code, stdout, stderr } = await freehold(...args)
      t.equal(code, 0, args.join(' '))
      t.equal(stderr, '', args.join(' '))
      for (const each of says) t.match(stdout, each, args.join(' '))
    }),
  )
})

t.test('what only explains itself loads no library of databases', async (t) => {
  const forbid = `import { registerHooks } from 'node:module'
    registerHooks({ resolve(name, context, next) {
      if (['kysely', 'pg'].includes(name)) throw new Error(name + ' is loaded')
      return next(name, context)
    } })`
  const env = { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(forbid)}` }
  const { code, stderr } = await freeholdOn(dataDir, env)('--help')
  t.same({ code, stderr }, { code: 0, stderr: '' })
  t.match((await freeholdOn(dataDir, env)('tenant', 'list')).stderr, /is loaded/, 'which would be seen')
})

t.test('--version prints the version of the package', async (t) => {
  t.same(await freehold('--version'), { code: 0, stdout: `${packageFile.version}\n`, stderr: '' })
})

const good = ['--name', 'Acme', '--admin-email', 'ada@example.com']
const misuses: [name: string, args: string[], says: RegExp][] = [
  [
    'an unknown noun',
    ['tennant'],
    /unknown command 'tennant'[\s\S]*Did you mean tenant[\s\S]*see freehold --help/,
  ],
  ['an unknown verb', ['tenant', 'destroy'], /unknown command 'destroy'[\s\S]*see freehold tenant --help/],
  ['an unknown option', ['doctor', '--mend'], /unknown option '--mend'[\s\S]*see freehold doctor --help/],
  ['too many words', ['doctor', 'now'], /too many arguments/],
  ['no slug', ['tenant', 'create', ...good], /missing required argument 'slug'/],
  ['no name', ['tenant', 'create', 'acme', '--admin-email', 'a@b.co'], /'--name <name>' not specified/],
  ['no admin', ['tenant', 'create', 'acme', '--name', 'Acme'], /'--admin-email <email>' not specified/],
  ['a bad slug', ['tenant', 'create', 'Acme Inc', ...good], /1 to 63 lowercase letters/],
  ['a slug like an id', ['tenant', 'create', '01a1fc90-6cca-7656-96b8-85cf3b217745', ...good], /not an id/],
  [
    'a bad address',
    ['tenant', 'create', 'acme', '--name', 'A', '--admin-email', 'ada'],
    /an email address like/,
  ],
  [
    'an empty name',
    ['tenant', 'create', 'acme', '--name', ' ', '--admin-email', 'a@b.co'],
    /one line of 1 to 200/,
  ],
  ['a name of two lines', ['tenant', 'create', 'acme', ...good, '--name', 'a\nb'], /one line/],
  ['an unknown tier', ['tenant', 'create', 'acme', ...good, '--tier', 'gold'], /shared, dedicated, external/],
  ['a limit of zero', ['tenant', 'list', '--limit', '0'], /whole number from 1 to 1000/],
  ['a bad cursor', ['tenant', 'list', '--cursor', 'x'], /nextCursor/],
  ['no tenant to show', ['tenant', 'show'], /missing required argument 'tenant'/],
]

t.test('wrong use exits 2, says why on standard error, and touches nothing', async (t) => {
  await Promise.all(
    misuses.map(async ([name, args, says]) => {
      const { code, stdout, stderr } = await freehold(...args)
      t.equal(code, 2, name)
      t.equal(stdout, '', name)
      t.match(stderr, says, name)
      for (const line of stderr.trimEnd().split('\n')) t.match(line, /^freehold: /, name)
    }),
  )
  await t.rejects(stat(dataDir), { code: 'ENOENT' })
})

t.test('with --json wrong use is one JSON object on standard error', async (t) => {
  const { code, stdout, stderr } = await freehold('tenant', 'create', 'acme', '--json')
  t.equal(code, 2)
  t.equal(stdout, '')
  t.match(JSON.parse(stderr), { error: { code: 'wrong_use', message: /--name <name>/ } })
})

t.test('a mistake in the configuration is told in a line for each and exits 1', async (t) => {
  const env = { MASTER_DATABASE_URL: 'postgres://u:hushhush@127.0.0.1:1/x', SPARE_DATABASES: 'many' }
  const wrong = await freeholdOn(dataDir, env)('tenant', 'list')
  t.equal(wrong.code, 1)
  t.match(wrong.stderr, /^freehold: MASTER_KEY is required.*\nfreehold: SPARE_DATABASES must be a whole/)
  const unreachable = { ...env, SPARE_DATABASES: '1', MASTER_KEY: 'ab'.repeat(32), LOG_LEVEL: 'debug' }
  for (const args of [['tenant', 'list'], ['master', 'migrate'], ['doctor']]) {
    const { code, stdout, stderr } = await freeholdOn(dataDir, unreachable)(...args)
    t.equal(code, 1)
    t.match(stdout + stderr, /u on 127\.0\.0\.1:1 cannot be reached/)
    t.notMatch(stdout + stderr, /hushhush|abababab/)
  }
})

t.test('the launcher', async (t) => {
  t.test('is executable, and is found through the links that npm makes', async (t) => {
    t.equal((await stat(launcher)).mode & 0o111, 0o111)
    const folder = await newFolder(t)
    await mkdir(join(folder, 'node_modules', '.bin'), { recursive: true })
    await symlink(join(launcher, '..', '..'), join(folder, 'node_modules', 'freehold'))
    const link = join(folder, 'node_modules', '.bin', 'freehold')
    await symlink('../freehold/scripts/freehold.sh', link)
    const { code, stdout } = await start(link, ['--version'], {}).outcome
    t.equal(code, 0)
    t.equal(stdout, `${packageFile.version}\n`)
  })

  /** A copy of the launcher in a package of its own, with a `node` of this version on the PATH. */
  const lonely = async (
    t: Test,
    version: string,
  ): Promise<{ file: string; path: string; folder: string }> => {
    const folder = await newFolder(t)
    await mkdir(join(folder, 'scripts'))
    await mkdir(join(folder, 'bin'))
    const file = join(folder, 'scripts', 'freehold.sh')
    await copyFile(launcher, file)
    await writeFile(join(folder, 'bin', 'node'), `#!/bin/sh\necho ${version}\n`, { mode: 0o755 })
    return { folder, file, path: `${join(folder, 'bin')}:/usr/bin:/bin` }
  }

  t.test('says that packages are missing', async (t) => {
    const { file, path } = await lonely(t, '24.1.0')
    const { code, stdout, stderr } = await start(file, [], { PATH: path }).outcome
    t.same({ code, stdout }, { code: 1, stdout: '' })
    t.match(stderr, /^freehold: .*run npm ci first.*\n$/)
  })

  t.test('says that Node is too old, and takes one that is not', async (t) => {
    for (const [version, code] of [
      ['20.20.2', 1],
      ['24.0.0', 0],
    ] as const) {
      const { folder, file, path } = await lonely(t, version)
      await mkdir(join(folder, 'node_modules', 'commander'), { recursive: true })
      const outcome = await start(file, [], { PATH: path }).outcome
      t.equal(outcome.code, code, version)
      if (code === 1) t.match(outcome.stderr, /^freehold: needs Node 24 or newer, found 20\.20\.2.*\n$/)
    }
  })
})
