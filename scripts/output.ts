import { styleText } from 'node:util'

/**
 * Makes text from the database harmless on a terminal: control characters and those that turn the writing direction
 * could hide or fake what an operator reads.
 */
export const harmless = (text: string): string =>
  text.replace(/[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu, '\ufffd')

type Format = Parameters<typeof styleText>[0]

/** Colours text for standard output: only on a terminal, and not with NO_COLOR. */
export const paint = (format: Format, text: string): string =>
  styleText(format, text, { stream: process.stdout })

export const print = (text: string): void => {
  process.stdout.write(`${text}\n`)
}

export const printJson = (value: unknown): void => print(JSON.stringify(value, null, 2))

/** `1 tenant`, `2 tenants`. */
export const plural = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? '' : 's'}`

export type Column<Row> = { title: string; value: (row: Row) => string }

/** Longest value in a table on a terminal; elsewhere nothing is cut. */
const longestOnTerminal = 40

const cell = (text: string): string => {
  const clean = [...harmless(text)]
  if (!process.stdout.isTTY || clean.length <= longestOnTerminal) return clean.join('')
  return `${clean.slice(0, longestOnTerminal - 1).join('')}…`
}

/** Columns stand below each other, two spaces apart. */
export const printTable = <Row>(columns: readonly Column<Row>[], rows: readonly Row[]): void => {
  const lines = rows.map((row) => columns.map(({ value }) => cell(value(row))))
  const widths = columns.map(({ title }, index) =>
    lines.reduce((width, line) => Math.max(width, [...(line[index] ?? '')].length), title.length),
  )
  const join = (cells: readonly string[]): string =>
    cells
      .map((text, index) => text + ' '.repeat((widths[index] ?? 0) - [...text].length))
      .join('  ')
      .trimEnd()
  print(paint('bold', join(columns.map(({ title }) => title))))
  for (const line of lines) print(join(line))
}

/** One thing: a line for each name and its value. */
export const printFields = (fields: readonly (readonly [name: string, value: string])[]): void => {
  const width = Math.max(...fields.map(([name]) => name.length))
  for (const [name, value] of fields) {
    print(`${paint('bold', name)}${' '.repeat(width - name.length)}  ${harmless(value)}`)
  }
}

/** The first line of what an error says. Some errors of Node's sockets say nothing but hold others that do. */
export const errorText = (error: unknown): string => {
  if (error instanceof AggregateError && error.message === '') return errorText(error.errors[0])
  const text = error instanceof Error ? error.message : String(error)
  return harmless(text.split('\n')[0] ?? '') || 'something went wrong without a word'
}

/** What went wrong, on standard error: lines for people, or one JSON object. */
export const printProblem = (problem: { code: string; lines: readonly string[] }, json: boolean): void => {
  const text = json
    ? JSON.stringify({ error: { code: problem.code, message: problem.lines.join('\n') } })
    : problem.lines.map((line) => `freehold: ${line}`).join('\n')
  process.stderr.write(`${text}\n`)
}
