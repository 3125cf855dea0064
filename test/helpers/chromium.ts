import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import puppeteer, { type Page } from 'puppeteer-core'
import type { Test } from 'tap'

/** For tests that need a browser: the one that npm brings is for Linux on x64, and elsewhere there is none. */
export const withChromium =
  process.platform === 'linux' && process.arch === 'x64'
    ? {}
    : { skip: 'the browser that npm brings runs on Linux on x64 only' }

/** A tab, and what happened in it that its person does not see. */
export type Tab = {
  page: Page
  /** Errors and warnings of the console (violations of the policy among them), and errors nobody caught. */
  faults: string[]
  /** The origins that were asked for anything. */
  origins: Set<string>
}

export type Chromium = {
  /** A tab of somebody who has never been here: no cookies, no history. */
  open(size?: { width: number; height: number }): Promise<Tab>
}

/** The package unpacks to where temporary files go, and is told there that it needs its libraries too. */
const unpacking = `
import { inflate } from '@sparticuz/chromium'
const packed = new URL('../bin/', import.meta.resolve('@sparticuz/chromium')).pathname
await Promise.all(['chromium', 'fonts.tar', 'al2023.tar'].map((name) => inflate(packed + name + '.br')))`

/**
 * The folder with the browser, its libraries and its fonts, made by the first file of a run that asks. Files that ask at
 * once each unpack their own, and the first to be ready gives its to all; half of one is never seen.
 */
const provideFolder = async (): Promise<string> => {
  const shared = join(tmpdir(), 'freehold-chromium')
  if (existsSync(shared)) return shared
  const own = await mkdtemp(`${shared}-`)
  await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', unpacking], {
    cwd: import.meta.dirname,
    env: { ...process.env, TMPDIR: own },
  })
  const fonts = `<fontconfig><dir>${shared}/fonts</dir><cachedir>${shared}/font-cache</cachedir></fontconfig>`
  await writeFile(join(own, 'fonts.conf'), fonts)
  await mkdir(join(own, 'home'))
  try {
    await rename(own, shared)
  } catch (error) {
    await rm(own, { recursive: true })
    if (!existsSync(shared)) throw error
  }
  return shared
}

/** What the console says of every answer from 400 on. Pages show those to people; they are no faults of a page. */
const isRefusal = (text: string): boolean =>
  /^Failed to load resource: the server responded with a status of 4/.test(text)

const watch = (page: Page): Tab => {
  const tab: Tab = { page, faults: [], origins: new Set() }
  page.on('console', (message) => {
    const isFault = ['error', 'warn', 'assert'].includes(message.type())
    if (isFault && !isRefusal(message.text())) tab.faults.push(message.text())
  })
  page.on('pageerror', (error) => tab.faults.push(String(error)))
  page.on('request', (request) => tab.origins.add(new URL(request.url()).origin))
  return tab
}

/**
 * A real browser for a test file, closed after it. It comes as a package, needs nothing that a bare machine lacks, and
 * reaches this machine only.
 */
export const openChromium = async (t: Test): Promise<Chromium> => {
  if ('skip' in withChromium) return { open: () => Promise.reject(new Error(withChromium.skip)) }
  const folder = await provideFolder()
  const browser = await puppeteer.launch({
    executablePath: join(folder, 'chromium'),
    headless: 'shell',
    // A pipe breaks when we are killed, and the browser ends with it.
    pipe: true,
    args: [
      // Root may not have one, and containers may forbid it; it only ever sees our own pages.
      '--no-sandbox',
      '--no-zygote',
      // Containers have little of it.
      '--disable-dev-shm-usage',
      '--disable-gpu',
      '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1',
    ],
    env: {
      ...process.env,
      HOME: join(folder, 'home'),
      LD_LIBRARY_PATH: join(folder, 'al2023/lib'),
      FONTCONFIG_FILE: join(folder, 'fonts.conf'),
    },
  })
  t.teardown(() => browser.close())
  return {
    open: async (size = { width: 1000, height: 700 }) => {
      const context = await browser.createBrowserContext()
      const page = await context.newPage()
      await page.setViewport(size)
      page.setDefaultTimeout(15_000)
      return watch(page)
    },
  }
}
