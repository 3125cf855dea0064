import type { App } from '../../http/app.ts'
import { pages } from './links.ts'
import { pageRoute, statusLine } from './page.ts'

/** Sends the form, once at a time and never after it has succeeded. */
const script = `
const button = form.querySelector('button'), again = document.querySelector('#again')
const { mailed, done, more } = form.dataset
const dead = (text) => {
  form.hidden = true
  if (again !== null) again.hidden = false
  tell(text)
}
form.addEventListener('submit', async (event) => {
  event.preventDefault()
  button.disabled = true
  tell('')
  try {
    const read = await ask('POST', location.pathname, { ...Object.fromEntries(new FormData(form)), ...(mailed && { token }) })
    form.remove()
    tell(read.message ?? (read.next === 'choose_password' ? more : done), 'good')
  } catch (error) {
    if (error.code === 'gone') return dead(error.message)
    tell(error.message)
    button.disabled = false
    const first = form.querySelector('input') ?? button
    first.focus({ preventScroll: true })
  }
})
if (mailed && !isToken) dead(noToken)
`

type Form = {
  title: string
  says: string
  field: string
  button: string
  done: string
  more?: string
  /** Whether a token from a mail goes with it. */
  mailed: boolean
  /** Where there is another link when this one is dead. */
  again?: { page: keyof typeof pages; label: string }
}

const emailField =
  '<label>Email<input type="email" name="email" autocomplete="email" maxlength="254" required autofocus></label>'

/** The pages that are one form for one request. */
const forms: Record<Exclude<keyof typeof pages, 'invitation'>, Form> = {
  verifyEmail: {
    title: 'Confirm your email address',
    says: '',
    field: '',
    button: 'Confirm',
    done: 'Your address is confirmed. You can sign in now.',
    more: 'Your address is confirmed. We have sent you another mail: choose your password with it.',
    mailed: true,
    again: { page: 'resendLink', label: 'Ask for another link' },
  },
  resendLink: {
    title: 'Ask for another link',
    says: 'We send it to you if your address is not confirmed yet.',
    field: emailField,
    button: 'Send the link',
    done: 'A mail is on its way.',
    mailed: false,
  },
  resetPassword: {
    title: 'Choose a new password',
    says: '8 to 256 characters. You will be signed out everywhere.',
    field:
      '<label>New password<input type="password" name="password" aria-describedby="hint" autocomplete="new-password" minlength="8" maxlength="256" required autofocus></label>',
    button: 'Set the password',
    done: 'Your new password is set. You can sign in with it now.',
    mailed: true,
    again: { page: 'forgotPassword', label: 'Ask for another link' },
  },
  forgotPassword: {
    title: 'Ask for a new password',
    says: 'We send you a link for it.',
    field: emailField,
    button: 'Send the link',
    done: 'A mail is on its way.',
    mailed: false,
  },
  confirmIdentity: {
    title: 'Connect your account',
    says: 'Only if it was you who wanted to sign in this way.',
    field: '',
    button: 'Connect',
    done: 'The two are connected. Sign in that way again.',
    mailed: true,
  },
}

/** Relative: the address people use may have a path of its own. Pages that lead to each other share a folder. */
const linkToPage = ({ page, label }: NonNullable<Form['again']>): string =>
  `<p id="again" hidden><a href="${pages[page].split('/').at(-1)}">${label}</a></p>`

const toBody = ({ says, field, button, done, more = done, mailed, again }: Form): string =>
  `<form method="post"${mailed ? ' data-mailed="yes"' : ''} data-done="${done}" data-more="${more}">` +
  `${says === '' ? '' : `<p id="hint">${says}</p>`}${field}<button>${button}</button></form>` +
  `${statusLine}${again === undefined ? '' : linkToPage(again)}`

/**
 * The pages that links in mails lead to, at the addresses their forms post to. A page only asks; the person's click
 * spends the token, so a mail scanner that follows every link spends nothing.
 */
export const linkPages = (app: App): void => {
  for (const [name, form] of Object.entries(forms)) {
    pageRoute(app, pages[name as keyof typeof forms], { title: form.title, body: toBody(form), script })
  }
}
