import { readFile, writeFile } from 'node:fs/promises'
import { availableParallelism, cpus, loadavg } from 'node:os'
import { fileURLToPath } from 'node:url'

/** One line that says on what a table was measured. */
export const machineLine = (postgres: string): string =>
  `${availableParallelism()} cores (${cpus()[0]?.model ?? 'unknown'}), load ${loadavg()[0]?.toFixed(1)} at the end; ` +
  `Node ${process.versions.node}, PostgreSQL ${postgres} without fsync`

/** A table in Markdown: the first column to the left, the others to the right. */
export const table = (head: readonly string[], rows: readonly (readonly string[])[]): string => {
  const widths = head.map((cell, i) => Math.max(4, cell.length, ...rows.map((row) => row[i]?.length ?? 0)))
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join(' | ')} |`
  const rule = widths.map((width, i) => (i === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`))
  return [line(head), line(rule), ...rows.map(line)].join('\n')
}

/** Something a benchmark promises, and what it saw. */
export type Promised = Readonly<{ what: string; seen: number; least?: number; most?: number }>

const kept = ({
  seen,
  least = Number.NEGATIVE_INFINITY,
  most = Number.POSITIVE_INFINITY,
}: Promised): boolean => seen >= least && seen <= most

/** Each promise in a line with what was seen. */
export const promiseLines = (promises: readonly Promised[]): string =>
  promises
    .map((promised) => {
      const { what, seen, least, most } = promised
      const bound = least === undefined ? `at most ${most}` : `at least ${least}`
      return `- ${what}: ${seen.toPrecision(3)} (${bound})${kept(promised) ? '' : ': **not kept**'}`
    })
    .join('\n')

const readme = fileURLToPath(new URL('../README.md', import.meta.url))

/** Puts a text into the README, between `<!-- name -->` and `<!-- /name -->`. */
const writeSection = async (name: string, text: string): Promise<void> => {
  const [begin, end] = [`<!-- ${name} -->`, `<!-- /${name} -->`]
  const old = await readFile(readme, 'utf8')
  const [from, to] = [old.indexOf(begin), old.indexOf(end)]
  if (from === -1 || to < from) throw new Error(`${readme} has no place for ${name}`)
  await writeFile(readme, `${old.slice(0, from + begin.length)}\n\n${text}\n\n${old.slice(to)}`)
}

/** Prints a benchmark's text and its promises, writes them into the README when asked, and fails when one is not kept. */
export const report = async (options: {
  name: string
  text: string
  promises: readonly Promised[]
  failures: readonly string[]
  write: boolean
}): Promise<void> => {
  const { name, promises, failures, write } = options
  const text = [options.text, promiseLines(promises)].filter((part) => part !== '').join('\n\n')
  console.log(`\n${text}`)
  for (const failure of failures) console.error(`failed: ${failure}`)
  if (write) await writeSection(name, text)
  if (failures.length > 0 || !promises.every(kept)) process.exitCode = 1
}
