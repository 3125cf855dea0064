import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const root = fileURLToPath(new URL('../../', import.meta.url))

/** What stands in a test's title for what its code fills in. */
const blank = '…'

/** The titles of the tests of a file, as they are written there. */
const titlesOf = (source: string): Set<string> => {
  const titles = new Set<string>()
  for (const [, quote = '', title = ''] of source.matchAll(/\btest\(\s*(['"`])((?:\\.|(?!\1)[^\\])*)\1/g)) {
    const plain = title.replaceAll(`\\${quote}`, quote)
    titles.add(quote === '`' ? plain.replace(/\$\{[^}]*\}/g, blank) : plain)
  }
  return titles
}

/** The cells of every row of every table, without heads and rules. */
const rowsOf = (text: string): string[][] =>
  text.split('\n').flatMap((line, n, lines) => {
    if (!line.startsWith('| ') || /^\| -/.test(line) || /^\| -/.test(lines[n + 1] ?? '')) return []
    return [line.slice(2, -2).split(' | ')]
  })

/** The tests that a cell names: `file`: title, one after another. */
const namedIn = (cell: string): { file: string; title: string }[] =>
  [...cell.matchAll(/`([\w/-]+)`: (.+?)(?=<br>|$)/g)].map(([, file = '', title = '']) => ({ file, title }))

const titles = new Map<string, Set<string>>()
const isThere = async ({ file, title }: { file: string; title: string }): Promise<boolean> => {
  const path = join(root, 'test', file)
  // Some tests stand in a file that a test file runs.
  const read = () => readFile(`${path}.test.ts`, 'utf8').catch(() => readFile(`${path}.ts`, 'utf8'))
  const known = titles.get(file) ?? titlesOf(await read())
  titles.set(file, known)
  return known.has(title)
}

const missingIn = async (cells: string[]): Promise<string[]> => {
  const missing: string[] = []
  for (const cell of cells) {
    const named = namedIn(cell)
    if (named.length === 0) missing.push(`no test: ${cell}`)
    for (const one of named) if (!(await isThere(one))) missing.push(`${one.file}: ${one.title}`)
  }
  return missing
}

t.test('every attack in docs/threats.md names tests that there are', async (t) => {
  const rows = rowsOf(await readFile(join(root, 'docs/threats.md'), 'utf8'))
  t.ok(rows.length > 25, 'the rows were found')
  t.strictSame(await missingIn(rows.map((row) => row.at(-1) ?? '')), [])
})

t.test(
  'every requirement in docs/security.md is named once, with tests that there are or a reason',
  async (t) => {
    const text = await readFile(join(root, 'docs/security.md'), 'utf8')
    const [met = '', unmet = ''] = (text.split('### Met')[1] ?? '').split('### Not met')
    const rows = rowsOf(met)
    t.ok(rows.length > 30, 'the rows were found')
    t.strictSame(await missingIn(rows.map((row) => row.at(-1) ?? '')), [])
    const ids = [...rows, ...rowsOf(unmet)].flatMap(([id = '']) => id.split(', '))
    t.strictSame(
      ids.filter((id, n) => ids.indexOf(id) !== n),
      [],
    )
    for (const id of ids) t.match(id, /^(6|7|9|10)\.\d\.\d{1,2}( to (6|10)\.\d\.\d)?$/)
  },
)

t.test('a test that is not there is found out', async (t) => {
  const cell = '`http/access-tokens`: any change of any character is refused<br>`http/input`: no such test'
  t.strictSame(await missingIn([cell, 'nothing']), ['http/input: no such test', 'no test: nothing'])
})
