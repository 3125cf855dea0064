/** Tells what long work is at, on standard error: one line that changes on a terminal, plain lines elsewhere. */
export type Progress = {
  step(text: string): void
  /** Takes the line away again. Safe twice. */
  end(): void
}

export const createProgress = (json: boolean): Progress => {
  const { stderr } = process
  // A program reads the outcome; it has no use for the way there.
  if (json) return { step: () => {}, end: () => {} }
  if (!stderr.isTTY) return { step: (text) => stderr.write(`freehold: ${text}\n`), end: () => {} }
  return {
    step: (text) => stderr.write(`\r\u001b[K${text} …`),
    end: () => stderr.write('\r\u001b[K'),
  }
}
