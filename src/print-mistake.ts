import type { OperatorError } from './kernel/errors.ts'

/** Tells the operator on standard error what to mend, a line each. */
export const printMistake = (error: OperatorError): void => {
  for (const line of error.lines) process.stderr.write(`freehold: ${line}\n`)
}
