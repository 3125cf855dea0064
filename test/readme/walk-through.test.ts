import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { nodeApart } from '../helpers/apart.ts'
import { compileCache } from '../helpers/compile-cache.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))

/** What a page tells its reader to paste: every block marked as bash, in order, as it stands. */
const readBlocks = async (page: string): Promise<string> => {
  const text = await readFile(join(root, page), 'utf8')
  return [...text.matchAll(/^```bash\n([\s\S]*?)^```$/gm)].map((block) => block[1]).join('\n')
}

const textOf = (child: ChildProcess): { out: string; errors: string } => {
  const text = { out: '', errors: '' }
  child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
    text.out += chunk
  })
  child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
    text.errors += chunk
  })
  return text
}

type Running = { address: string; stop: () => Promise<number | null> }

/** Starts the real process on a new data folder and a free port. No `.env` is near: it runs in that folder. */
const startFreehold = async (dataDir: string): Promise<Running> => {
  const [program, ...first] = nodeApart
  const child = spawn(program, [...first, join(root, 'src/main.ts')], {
    cwd: dataDir,
    env: {
      PATH: process.env.PATH,
      ...compileCache,
      DATA_DIR: join(dataDir, 'data'),
      PORT: '0',
      LOG_LEVEL: 'warn',
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const text = textOf(child)
  const ended = once(child, 'exit')
  const address = await new Promise<string>((resolve, reject) => {
    child.stdout.on('data', () => {
      const found = /^ +API +(http\S+)$/m.exec(text.out)?.[1]
      if (found !== undefined) resolve(found)
    })
    child.once('exit', () => reject(new Error(`Freehold did not start: ${text.out}${text.errors}`)))
  })
  const stop = async (): Promise<number | null> => {
    child.kill('SIGTERM')
    const [code] = await ended
    return typeof code === 'number' ? code : null
  }
  return { address, stop }
}

const runBash = async (
  script: string,
  api: string,
): Promise<{ code: unknown; out: string; errors: string }> => {
  const child = spawn('bash', ['-euo', 'pipefail'], { env: { PATH: process.env.PATH, API: api } })
  const text = textOf(child)
  child.stdin.end(script)
  const [code] = await once(child, 'close')
  return { code, ...text }
}

t.test(
  'the walk-through of the README does what it says, and so do docs/members.md and docs/jobs.md',
  async (t) => {
    const dataDir = await mkdtemp(join(tmpdir(), 'test-readme-'))
    // As root the database server runs as another user, who must pass through.
    await chmod(dataDir, 0o711)
    t.teardown(() => rm(dataDir, { recursive: true, force: true }))
    const freehold = await startFreehold(dataDir)
    const stopped = { code: undefined as number | null | undefined }
    t.teardown(async () => {
      if (stopped.code === undefined) await freehold.stop()
    })

    const script = await readBlocks('README.md')
    for (const time of ['first', 'second']) {
      const { code, out, errors } = await runBash(script, freehold.address)
      t.equal(code, 0, `${time} time: it runs to its end`)
      t.equal(errors, '', `${time} time: nothing is complained about`)
      t.match(out, /status: 'active'/, `${time} time: the tenant is active at once`)
      t.match(
        out,
        /Ann's projects:\n\[\n[^\]]*name: 'Moon base'/,
        `${time} time: the first tenant sees its project`,
      )
      t.match(out, /^Ben's projects: 0$/m, `${time} time: the second tenant has none`)
      t.match(
        out,
        /^Ben asks for Ann's project: not_found$/m,
        `${time} time: and does not find the first one's`,
      )
      t.match(out, /^Ann asks for it: Moon base$/m, `${time} time: which is still there`)
    }

    const people = await runBash(`${script}\n${await readBlocks('docs/members.md')}`, freehold.address)
    t.strictSame([people.code, people.errors], [0, ''])
    t.match(people.out, /^Ben becomes: Viewer\nBen sees: Moon base\nBen adds: forbidden$/m)
    t.match(people.out, /email: 'cleo-[^']+',\n +role: 'Writer',[^}]*status: 'open'/)
    t.match(people.out, /^Billing adds: Invoices\nEnded: 1$/m)

    const waitForImport = `for n in $(seq 100); do
    [ "$(with "$TOKEN" '/api/jobs?status=succeeded' | json data.length)" = 2 ] && break; sleep 0.2
  done
  echo "Imported: $(with "$TOKEN" '/api/users?q=ada@example.com' | json data.length)"`
    const parts = [script, 'TOKEN=$ANN', 'echo "Jobs:"', await readBlocks('docs/jobs.md'), waitForImport]
    const { code, out, errors } = await runBash(parts.join('\n'), freehold.address)
    t.strictSame([code, errors], [0, ''])
    const jobs = out.split('Jobs:')[1] ?? ''
    t.notMatch(jobs, /"code":/, 'nothing that docs/jobs.md asks for is refused')
    t.match(jobs, /"idempotencyKey":"greeting-1"[\s\S]*"cron":"0 6 \* \* 1-5"[\s\S]*Imported: 1$/m)

    stopped.code = await freehold.stop()
    t.equal(stopped.code, 0, 'Freehold ends cleanly')
  },
)
