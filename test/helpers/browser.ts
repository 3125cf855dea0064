import type { Answer, Call, Freehold } from './freehold.ts'

/** A browser with one page open: keeps the cookies it is given, and what the page remembers. */
export type Browser = {
  readonly jar: Map<string, string>
  /** What the page has been told of its session. */
  csrfToken: string | undefined
  /** Sends the cookies; the page adds its CSRF token unless the headers say otherwise (`undefined` leaves it out). */
  ask(
    method: string,
    url: string,
    call?: Omit<Call, 'headers'> & { headers?: Record<string, string | undefined> },
  ): Promise<Answer>
  /** Opens a session in cookies. */
  signIn(who: { email: string; password: string }): Promise<Answer>
}

/** What Set-Cookie says, by the cookie's name. */
export const cookiesOf = ({ headers }: Pick<Answer, 'headers'>) =>
  new Map(
    [headers['set-cookie'] ?? []].flat().map((line) => {
      const [pair = '', ...attributes] = String(line).split('; ')
      const [name = '', value = ''] = pair.split(/=(.*)/)
      return [name, { value, attributes }] as const
    }),
  )

export const openBrowser = ({ call }: Pick<Freehold, 'call'>): Browser => {
  const jar: Browser['jar'] = new Map()
  const browser: Browser = {
    jar,
    csrfToken: undefined,
    ask: async (method, url, { headers = {}, ...rest } = {}) => {
      const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join('; ')
      const sent = { ...(cookie === '' ? {} : { cookie }), 'x-csrf-token': browser.csrfToken, ...headers }
      const given = Object.entries(sent).filter((entry): entry is [string, string] => entry[1] !== undefined)
      const answer = await call(method, url, { ...rest, headers: Object.fromEntries(given) })
      for (const [name, { value, attributes }] of cookiesOf(answer)) {
        if (attributes.includes('Max-Age=0')) jar.delete(name)
        else jar.set(name, value)
      }
      if (answer.body.csrfToken !== undefined) browser.csrfToken = String(answer.body.csrfToken)
      return answer
    },
    signIn: (body) =>
      browser.ask('POST', '/auth/login', {
        body: { email: body.email, password: body.password },
        headers: { 'x-auth-mode': 'cookie' },
      }),
  }
  return browser
}
