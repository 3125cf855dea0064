import type { App } from '../../src/http/app.ts'

/** Where a browser ended up. */
export type Place = {
  url: URL
  status: number
  headers: Headers
  text: string
  /** The body read as JSON, `{}` when it is none. */
  body: Record<string, unknown> & { [key: string]: never }
  /** Of a session: whose it is. */
  user: Record<string, unknown>
  /** What stands behind the `#`. */
  says: Record<string, string>
}

export type Browser = {
  /** Cookies by host. */
  cookies: Map<string, Map<string, string>>
  /**
   * Goes there and follows every redirect, filling in the provider's forms as `login`. Stops at an address of nobody it
   * knows, or before one that `stop` names.
   */
  visit(address: string, options?: { login?: string; stop?: (url: URL) => boolean }): Promise<Place>
}

const maxSteps = 20

const toPlace = (url: URL, status: number, headers: Headers, text: string, body: Place['body']): Place => ({
  url,
  status,
  headers,
  text,
  body,
  user: body.user ?? {},
  says: Object.fromEntries(new URLSearchParams(url.hash.slice(1))),
})

/** A browser of one person: Freehold by injection, providers by real HTTP, and a cookie jar. */
export const openBrowser = (app: App, publicUrl: string, userAgent = 'test browser'): Browser => {
  const cookies: Browser['cookies'] = new Map()
  const own = new URL(publicUrl)

  const remember = (url: URL, headers: Headers): void => {
    const jar = cookies.get(url.host) ?? new Map<string, string>()
    cookies.set(url.host, jar)
    for (const line of headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? []
      if (value === '') jar.delete(name)
      else jar.set(name, value)
    }
  }
  const send = async (url: URL, form: URLSearchParams | undefined) => {
    const cookie = [...(cookies.get(url.host) ?? [])].map(([name, value]) => `${name}=${value}`).join('; ')
    const headers: Record<string, string> = { 'user-agent': userAgent, ...(cookie === '' ? {} : { cookie }) }
    if (url.host !== own.host) {
      const body = form === undefined ? {} : { method: 'POST', body: form }
      const response = await fetch(url, { ...body, headers, redirect: 'manual' })
      return { status: response.status, headers: response.headers, text: await response.text() }
    }
    const answer = await app.inject({ method: 'GET', url: url.pathname + url.search, headers })
    const answered = new Headers()
    for (const [name, values] of Object.entries(answer.headers)) {
      for (const value of [values].flat()) answered.append(name, String(value))
    }
    return { status: answer.statusCode, headers: answered, text: answer.body }
  }

  const visit: Browser['visit'] = async (address, { login, stop } = {}) => {
    let url = new URL(address, own)
    let form: URLSearchParams | undefined
    for (let step = 0; step < maxSteps; step += 1) {
      const known = url.host === own.host || url.hostname === '127.0.0.1'
      if (!known || stop?.(url)) return toPlace(url, 0, new Headers(), '', {})
      const { status, headers, text } = await send(url, form)
      form = undefined
      remember(url, headers)
      const location = headers.get('location')
      const [, prompt] = /name="prompt" value="(\w+)"/.exec(text) ?? []
      if (location !== null) {
        url = new URL(location, url)
      } else if (prompt !== undefined && login !== undefined) {
        const [, action = ''] = /<form[^>]* action="([^"]+)"/.exec(text) ?? []
        url = new URL(action, url)
        form = new URLSearchParams({ prompt, login, password: 'any' })
      } else {
        const json = headers.get('content-type')?.includes('json')
        return toPlace(url, status, headers, text, json ? JSON.parse(text) : {})
      }
    }
    throw new Error(`no end of redirects at ${url}`)
  }
  return { cookies, visit }
}
