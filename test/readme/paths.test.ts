import { globSync } from 'node:fs'
import { access, readFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import packageFile from '../../package.json' with { type: 'json' }

const root = fileURLToPath(new URL('../../', import.meta.url))
const pages = globSync(['*.md', 'docs/**/*.md', 'src/*/README.md'], { cwd: root }).sort()

const exists = (path: string): Promise<boolean> =>
  access(join(root, path)).then(
    () => true,
    () => false,
  )

const missing = async (paths: Iterable<string>): Promise<string[]> => {
  const found = await Promise.all([...paths].map(async (path) => ((await exists(path)) ? [] : [path])))
  return found.flat()
}

/** Link targets of a page, from the root. */
const linksOf = (page: string, text: string): string[] =>
  [...text.matchAll(/\]\(([^)#\s]+)[^)]*\)/g)]
    .map((match) => match[1] ?? '')
    .filter((target) => !/^[a-z]+:/.test(target))
    .map((target) => relative(root, join(root, dirname(page), target)))

/** Paths in backticks that begin with one of our folders. What is to be made by the reader (`src/tenant/notes/`) is left out. */
const pathsOf = (text: string): string[] =>
  [...text.matchAll(/`((?:src|docs|test|scripts|migrations-[a-z]+)\/[\w./-]*)`/g)]
    .map((match) => match[1] ?? '')
    .filter((path) => !path.includes('notes'))

for (const page of pages) {
  t.test(`${page} names only files that are there`, async (t) => {
    const text = await readFile(join(root, page), 'utf8')
    t.strictSame(await missing([...linksOf(page, text), ...pathsOf(text)]), [])
  })

  t.test(`${page} names only scripts that are there`, async (t) => {
    const text = await readFile(join(root, page), 'utf8')
    const named = [...text.matchAll(/\bnpm run ([\w:-]+)/g)].map((match) => match[1] ?? '')
    t.strictSame(
      named.filter((name) => !(name in packageFile.scripts)),
      [],
    )
  })
}

t.test('every room says what belongs in it', async (t) => {
  const rooms = globSync('src/*/', { cwd: root })
  t.ok(rooms.length > 8, 'the rooms were found')
  t.strictSame(await missing(rooms.map((room) => join(room, 'README.md'))), [])
})

t.test('every decision is in the list of decisions', async (t) => {
  const list = await readFile(join(root, 'docs/decisions/README.md'), 'utf8')
  const decisions = globSync('docs/decisions/[0-9]*.md', { cwd: root }).sort()
  t.ok(decisions.length > 0, 'the decisions were found')
  for (const [index, path] of decisions.entries()) {
    const name = path.slice('docs/decisions/'.length)
    const title = /^# (\d+)\. (.+)$/m.exec(await readFile(join(root, path), 'utf8'))
    t.equal(title?.[1], String(index + 1), `${name} has the next number`)
    t.ok(list.includes(`${index + 1}. [${title?.[2]}](${name})`), `${name} is listed under its title`)
  }
})

t.test('what the image copies is there, and not kept out by .dockerignore', async (t) => {
  const dockerfile = await readFile(join(root, 'Dockerfile'), 'utf8')
  const copied = [...dockerfile.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(
    (match) => match[1]?.split(' ') ?? [],
  )
  t.ok(copied.includes('src'), 'the copies were found')
  t.strictSame(await missing(copied), [])
  const lines = (await readFile(join(root, '.dockerignore'), 'utf8')).split('\n')
  t.ok(lines.includes('*'), 'everything is kept out')
  const letIn = lines.filter((line) => line.startsWith('!')).map((line) => line.slice(1))
  t.strictSame(letIn.sort(), [...new Set(copied)].sort(), 'but what is copied')
})

t.test('what the compose file mounts is there', async (t) => {
  const compose = await readFile(join(root, 'docker-compose.yml'), 'utf8')
  const mounted = [...compose.matchAll(/^\s+- \.\/([^:\s]+):/gm)].map((match) => match[1] ?? '')
  t.ok(mounted.length > 0, 'the mounts were found')
  t.strictSame(await missing(mounted), [])
})
