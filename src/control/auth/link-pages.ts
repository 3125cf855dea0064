import { publicRoute } from '../../http/access-rules.ts'
import type { App } from '../../http/app.ts'
import { sha256 } from '../../kernel/crypto.ts'
import { pages } from './links.ts'

const style =
  'body{margin:0;padding:15vh 24px;font:16px/1.5 system-ui,sans-serif;color:#1a1a1a;background:#fff}' +
  'form{max-width:360px;margin:auto;display:grid;gap:16px}h1{font-size:22px;margin:0}p{margin:0}' +
  'input,button{font:inherit;padding:10px;border-radius:6px;border:1px solid #999}' +
  'button{background:#1f4fd8;border-color:#1f4fd8;color:#fff;cursor:pointer}button:disabled{opacity:.5}' +
  'body>p{max-width:360px;margin:16px auto}[hidden]{display:none!important}'

/** Sends the form with the token from behind `#`, and takes it out of the address first: history keeps no secret. */
const script = `
const form = document.querySelector('form'), says = document.querySelector('[role=status]')
const token = new URLSearchParams(location.hash.slice(1)).get('token')
if (location.hash) history.replaceState(null, '', location.pathname)
form.addEventListener('submit', async (event) => {
  event.preventDefault()
  const body = Object.fromEntries(new FormData(form))
  if (token !== null) body.token = token
  form.querySelector('button').disabled = true
  const answer = await fetch(location.pathname, { method: 'POST', body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }).catch(() => undefined)
  const read = answer?.headers.get('content-type')?.includes('json') ? await answer.json() : {}
  says.textContent = answer === undefined ? 'The server cannot be reached; try again.'
    : answer.ok ? (read.message ?? (read.next === 'choose_password' ? form.dataset.more : form.dataset.done)) : read.detail
  form.querySelector('button').disabled = answer?.ok === true
})
`

type Form = { title: string; says: string; field: string; button: string; done: string; more?: string }

/** The pages that are one form for one request. */
const forms: Record<Exclude<keyof typeof pages, 'invitation'>, Form> = {
  verifyEmail: {
    title: 'Confirm your email address',
    says: '',
    field: '',
    button: 'Confirm',
    done: 'Your address is confirmed. You can sign in now.',
    more: 'Your address is confirmed. We have sent you another mail: choose your password with it.',
  },
  resetPassword: {
    title: 'Choose a new password',
    says: '8 to 256 characters. You will be signed out everywhere.',
    field:
      '<input type="password" name="password" aria-label="New password" autocomplete="new-password" minlength="8" maxlength="256" required autofocus>',
    button: 'Set the password',
    done: 'Your new password is set. You can sign in with it now.',
  },
  forgotPassword: {
    title: 'Ask for a new password',
    says: 'We send you a link for it.',
    field: '<input type="email" name="email" aria-label="Email" autocomplete="email" required autofocus>',
    button: 'Send the link',
    done: 'A mail is on its way.',
  },
  confirmIdentity: {
    title: 'Connect your account',
    says: 'Only if it was you who wanted to sign in this way.',
    field: '',
    button: 'Connect',
    done: 'The two are connected. Sign in that way again.',
  },
}

const toBody = ({ title, says, field, button, done, more = done }: Form): string =>
  `<form data-done="${done}" data-more="${more}"><h1>${title}</h1>${field}<button>${button}</button><p role="status">${says}</p></form>`

/** What a page is made of; the body may hold what we wrote ourselves and nothing else. */
type PageParts = { title: string; body: string; script: string }

const toPage = ({ title, body, script }: PageParts): string =>
  `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title><style>${style}</style></head>
<body>${body}
<script type="module">${script}</script></body></html>
`

const hashOf = (source: string): string => `'sha256-${sha256(source).toString('base64')}'`

/** Only this page's own script and style, and requests to our own address. */
const securityPolicyOf = (ownScript: string): string =>
  [
    "default-src 'none'",
    `script-src ${hashOf(ownScript)}`,
    `style-src ${hashOf(style)}`,
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ')

/** Serves a page that is the same for everybody: what is secret stands behind the `#` of its address. */
export const pageRoute = (app: App, path: string, parts: PageParts): void => {
  const page = toPage(parts)
  const policy = securityPolicyOf(parts.script)
  app.get(
    path,
    {
      config: publicRoute('a page with a form, the same for everybody'),
      schema: { tags: ['Account'], summary: `Page: ${parts.title.toLowerCase()}` },
    },
    async (_request, reply) =>
      reply
        .header('content-security-policy', policy)
        .header('referrer-policy', 'no-referrer')
        .type('text/html; charset=utf-8')
        .send(page),
  )
}

/**
 * The pages that links in mails lead to, at the addresses their forms post to. A page only asks; the person's click
 * spends the token, so a mail scanner that follows every link spends nothing.
 */
export const linkPages = (app: App): void => {
  for (const [name, form] of Object.entries(forms)) {
    pageRoute(app, pages[name as keyof typeof forms], { title: form.title, body: toBody(form), script })
  }
}
