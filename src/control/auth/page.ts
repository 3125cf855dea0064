import { publicRoute } from '../../http/access-rules.ts'
import type { App } from '../../http/app.ts'
import { sha256 } from '../../kernel/crypto.ts'

const style =
  'body{margin:0;padding:12vh 24px 24px;font:16px/1.5 system-ui,sans-serif;color:#1a1a1a;background:#fff}' +
  'main{max-width:360px;margin:auto;overflow-wrap:anywhere}form{display:grid;gap:16px}' +
  'h1{font-size:22px;line-height:1.3;margin:0 0 12px}p{margin:0 0 16px}form p{margin:0}label{display:grid;gap:4px}' +
  'label:has([type=checkbox]){grid-template-columns:auto 1fr;gap:8px;align-items:center;padding:4px 0}' +
  'input,button{font:inherit;box-sizing:border-box;min-width:0;padding:10px;border-radius:6px;border:1px solid #767676}' +
  '[type=checkbox]{width:20px;height:20px;margin:0}' +
  'button{background:#1f4fd8;border-color:#1f4fd8;color:#fff;cursor:pointer}button:disabled{opacity:.5;cursor:default}' +
  'button[value=decline]{background:#fff;color:#1f4fd8}a{color:#1f4fd8}:focus-visible{outline:3px solid #1f4fd8;outline-offset:2px}' +
  '[role=status]{margin:16px 0}.good{color:#0b6b2e}.bad{color:#b3261e}[hidden]{display:none!important}'

/**
 * What the script of every page begins with. Takes the token from behind `#` out of the address: history keeps no secret.
 * A link that is opened where its page is open already only changes what is behind `#`, so the page is loaded again.
 * `ask` throws what a person can be told.
 */
const opening = `
const form = document.querySelector('form'), says = document.querySelector('[role=status]')
const token = new URLSearchParams(location.hash.slice(1)).get('token') ?? ''
const isToken = /^[\\w-]{1,200}$/.test(token)
const noToken = 'A part of the link is missing, or this page was loaded again. Open the link in the mail once more.'
if (location.hash) history.replaceState(null, '', location.pathname)
addEventListener('hashchange', () => location.reload())
const tell = (text, kind = 'bad') => {
  says.textContent = text
  says.className = kind
  says.scrollIntoView({ block: 'center' })
}
const ask = async (method, path, body, bearer) => {
  const headers = { ...(body && { 'content-type': 'application/json' }), ...(bearer && { authorization: 'Bearer ' + bearer }) }
  const answer = await fetch(path, { method, headers, ...(body && { body: JSON.stringify(body) }) }).catch(() => undefined)
  const read = answer?.headers.get('content-type')?.includes('json') ? await answer.json().catch(() => ({})) : {}
  if (answer?.ok) return read
  throw Object.assign(new Error(read.detail ?? 'The server cannot be reached; try again.'), { code: read.code })
}
`

/**
 * What a page is made of; the body may hold what we wrote ourselves and nothing else. It has one form, and one place
 * (`statusLine`) where the page says how it went.
 */
type PageParts = { title: string; body: string; script: string }

/** Screen readers read it out when it changes. */
export const statusLine = '<p role="status"></p>'

const toPage = ({ title, body }: PageParts, script: string): string =>
  `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title><style>${style}</style></head>
<body><main><h1>${title}</h1>${body}<noscript><p class="bad">This page needs JavaScript. Switch it on, then open the link again.</p></noscript></main>
<script type="module">${script}</script></body></html>
`

const hashOf = (source: string): string => `'sha256-${sha256(source).toString('base64')}'`

/** Only this page's own script and style, and requests to our own address. */
const securityPolicyOf = (script: string): string =>
  [
    "default-src 'none'",
    `script-src ${hashOf(script)}`,
    `style-src ${hashOf(style)}`,
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ')

/** Serves a page that is the same for everybody: what is secret stands behind the `#` of its address. */
export const pageRoute = (app: App, path: string, parts: PageParts): void => {
  const script = opening + parts.script
  const page = toPage(parts, script)
  const policy = securityPolicyOf(script)
  app.get(
    path,
    {
      config: publicRoute('a page with a form, the same for everybody'),
      schema: { tags: ['Account'], summary: `Page: ${parts.title.toLowerCase()}` },
    },
    async (_request, reply) =>
      reply.header('content-security-policy', policy).type('text/html; charset=utf-8').send(page),
  )
}
