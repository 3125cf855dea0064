import { harmless, paint, plural, print, printJson } from '../../output.ts'
import type { Check } from './checks.ts'
import type { Examination } from './examine.ts'

/** A fault, wherever it was found. */
export type Fault = {
  kind: string
  severity: 'notice' | 'problem'
  subject: string
  message: string
  repairable: boolean
}

export type Report = { checks: Check[]; faults: Fault[]; repaired: Fault[] }

const checkFaults = (checks: readonly Check[]): Fault[] =>
  checks.flatMap(({ name, status, detail, repairable }) =>
    status === 'ok'
      ? []
      : [
          {
            kind: name.replace(' ', '_'),
            severity: status,
            subject: 'installation',
            message: detail,
            repairable,
          },
        ],
  )

export const faultsOf = ({ checks, findings }: Examination): Fault[] => [
  ...checkFaults(checks),
  ...findings.map(({ kind, severity, subject, message, repairable }) => ({
    kind,
    severity,
    subject,
    message,
    repairable,
  })),
]

/** The faults of `before` that are not among those of `after`. */
export const goneFrom = (before: readonly Fault[], after: readonly Fault[]): Fault[] =>
  before.filter((old) => !after.some(({ kind, subject }) => kind === old.kind && subject === old.subject))

const marks = {
  ok: () => paint('green', '✓'),
  notice: () => paint('yellow', '!'),
  problem: () => paint('red', '✗'),
}

const nameWidth = 22

const printLine = (status: keyof typeof marks, name: string, text: string): void => {
  const [first = '', ...more] = text.split('\n').map(harmless)
  print(`${marks[status]()} ${name.padEnd(nameWidth)} ${first}`)
  for (const line of more) print(`${' '.repeat(nameWidth + 3)}${line}`)
}

export const isHealthy = ({ faults }: Report): boolean =>
  faults.every(({ severity }) => severity !== 'problem')

const conclusion = (report: Report): string => {
  const problems = report.faults.filter(({ severity }) => severity === 'problem')
  const notices = report.faults.length - problems.length
  if (problems.length === 0)
    return notices === 0 ? 'All is well.' : `No problems; ${plural(notices, 'notice')}.`
  const repairable = problems.filter((fault) => fault.repairable).length
  const count = plural(problems.length, 'problem')
  if (repairable === 0) return `${count}.`
  return `${count}; freehold doctor --fix repairs ${repairable === problems.length ? 'that' : `${repairable} of them`}.`
}

/** A line for each check and each fault, and what to do next; or all of it as JSON. */
export const printReport = (report: Report, json: boolean): void => {
  const { checks, faults, repaired } = report
  if (json) {
    printJson({ ok: isHealthy(report), findings: faults, repaired, checks })
    return
  }
  for (const { kind, message } of repaired) printLine('ok', kind, `repaired: ${message}`)
  for (const { name, status, detail } of checks) if (status === 'ok') printLine('ok', name, detail)
  for (const { kind, severity, message } of faults) printLine(severity, kind, message)
  print(`\n${conclusion(report)}`)
}
