import type { Page } from 'puppeteer-core'
import type { Test } from 'tap'
import type { App } from '../../src/http/app.ts'
import type { Chromium, Tab } from './chromium.ts'

const phone = { width: 360, height: 640 }

/** What a browser asked the server for: method and path, and the headers. */
type Asked = { what: string; headers: Record<string, unknown> }

export type Tabs = {
  /** Opens an address on a phone. */
  open(address: string): Promise<Page>
  /** What was asked for in this test, oldest first. */
  asked: Asked[]
  /** How often something was posted there. */
  posts(path: string): number
}

const widthOf = async (page: Page): Promise<number> =>
  Number(await page.evaluate('document.documentElement.scrollWidth'))

/** What no page may do, whatever its person does. */
const wrongIn = async ({ page, faults, origins }: Tab, own: string): Promise<string[]> => [
  ...faults,
  ...[...origins].filter((origin) => origin !== own).map((origin) => `asked ${origin}`),
  ...((await widthOf(page)) > phone.width ? ['wider than the phone'] : []),
  ...(page.url().includes('#') ? [`in the address: ${page.url()}`] : []),
]

/** An invitation's token is asked for by name; otherwise secrets go in bodies only. */
const isLeak = ({ what, headers }: Asked, origin: string): boolean =>
  String(headers.referer).startsWith(origin) ||
  /token=|fh[ivp]_/.test(what.replace(/ \/invitations\/fhi_[\w-]+/, '') + JSON.stringify(headers))

/**
 * Opens pages of a listening app. After each test no tab may have thrown or violated its policy, asked another site, kept
 * its token in the address or become wider than the phone, and no secret or address of a page may have been sent along.
 */
export const watchTabs = (t: Test, chromium: Chromium, app: App, origin: string): Tabs => {
  const asked: Asked[] = []
  app.server.on('request', ({ method, url, headers }) => asked.push({ what: `${method} ${url}`, headers }))
  const tabs: Tab[] = []
  t.afterEach(async () => {
    const wrong = asked
      .splice(0)
      .filter((one) => isLeak(one, origin))
      .map((leak) => JSON.stringify(leak))
    for (const tab of tabs.splice(0)) {
      wrong.push(...(await wrongIn(tab, origin)))
      await tab.page.browserContext().close()
    }
    if (wrong.length > 0) throw new Error(`behind the person's back: ${wrong.join('; ')}`)
  })
  return {
    asked,
    posts: (path) => asked.filter(({ what }) => what === `POST ${path}`).length,
    open: async (address) => {
      const tab = await chromium.open(phone)
      tabs.push(tab)
      await tab.page.goto(address)
      return tab.page
    },
  }
}

/** What the page says of how it went, as soon as it does, where its person sees it. */
export const saysOf = async (page: Page): Promise<string> => {
  await page.waitForFunction("document.querySelector('[role=status]').textContent !== ''")
  if ((await widthOf(page)) > phone.width) throw new Error('the page is wider than the phone')
  const below = "document.querySelector('[role=status]').getBoundingClientRect().bottom > innerHeight"
  if (await page.evaluate(below)) throw new Error('the page says it where nobody looks')
  return String(await page.evaluate("document.querySelector('[role=status]').textContent"))
}

const named = (page: Page, role: string, name: string) =>
  page.locator(`::-p-aria([name="${name}"][role="${role}"])`)

export const press = async (page: Page, button: string): Promise<string> => {
  await named(page, 'button', button).click()
  return saysOf(page)
}

/** Presses the first button twice, faster than any answer. */
export const pressTwice = async (page: Page): Promise<string> => {
  await page.evaluate("{ const b = document.querySelector('button'); b.click(); b.click() }")
  return saysOf(page)
}

/** Fills in the field with this label. */
export const fill = (page: Page, label: string, text: string): Promise<void> =>
  named(page, 'textbox', label).fill(text)

export const follow = async (page: Page, link: string): Promise<void> => {
  await Promise.all([page.waitForNavigation(), named(page, 'link', link).click()])
}

export const reload = async (page: Page): Promise<string> => {
  await page.reload()
  return saysOf(page)
}
