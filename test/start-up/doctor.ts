import { spawn } from 'node:child_process'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { nodeApart } from '../helpers/apart.ts'
import { compileCache } from '../helpers/compile-cache.ts'

const program = fileURLToPath(new URL('../../scripts/freehold.ts', import.meta.url))

export type Diagnosis = {
  /** 0 when there is no problem. */
  code: number | null
  problems: { kind: string; subject: string; message: string }[]
}

/** Runs `freehold doctor --json` on a data folder, beside a running service or without one. */
export const consultDoctor = async (
  dataDir: string,
  env: Record<string, string>,
  ...flags: string[]
): Promise<Diagnosis> => {
  const [node, ...first] = nodeApart
  const child = spawn(node, [...first, program, 'doctor', '--json', ...flags], {
    env: { PATH: process.env.PATH, ...compileCache, DATA_DIR: dataDir, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve))
  const report = JSON.parse(await text(child.stdout))
  const problems = report.findings.filter(({ severity }: { severity: string }) => severity === 'problem')
  return { code: await ended, problems }
}
