import type { App } from '../../http/app.ts'
import { pageRoute } from '../auth/link-pages.ts'
import { pages } from '../auth/links.ts'

const body = `<form hidden><h1>You are invited</h1><p id="about"></p>
<input type="email" name="email" aria-label="Email" placeholder="Email" autocomplete="email" required>
<input type="password" name="password" aria-label="Password" placeholder="Password" autocomplete="current-password" minlength="8" maxlength="256" required>
<label><input type="checkbox" name="isNew"> I have no account yet</label>
<input name="firstName" aria-label="First name" placeholder="First name" autocomplete="given-name" maxlength="100" hidden>
<input name="lastName" aria-label="Last name" placeholder="Last name" autocomplete="family-name" maxlength="100" hidden>
<button value="accept">Accept</button><button value="decline" formnovalidate>Decline</button></form><p role="status"></p>`

/**
 * Shows who invites to what, then signs in or up and answers; the session it needs for that ends with it. Paths are
 * relative, as the address people use may have a path of its own. Names are set as text, never as HTML.
 */
const script = `
const form = document.querySelector('form'), says = document.querySelector('[role=status]'), field = form.elements
const token = new URLSearchParams(location.hash.slice(1)).get('token') ?? ''
if (location.hash) history.replaceState(null, '', location.pathname)
const invitation = '../invitations/' + encodeURIComponent(token)
const ask = async (method, path, body, bearer) => {
  const headers = { ...(body && { 'content-type': 'application/json' }), ...(bearer && { authorization: 'Bearer ' + bearer }) }
  const answer = await fetch(path, { method, headers, ...(body && { body: JSON.stringify(body) }) }).catch(() => undefined)
  const read = answer?.headers.get('content-type')?.includes('json') ? await answer.json() : {}
  if (answer?.ok !== true) throw new Error(read.detail ?? 'The server cannot be reached; try again.')
  return read
}
const tell = (text) => { says.textContent = text }
field.isNew.addEventListener('change', () => {
  for (const name of ['firstName', 'lastName']) field[name].hidden = !field.isNew.checked
  field.firstName.required = field.isNew.checked
  form.querySelector('[value=decline]').hidden = field.isNew.checked
})
const answerAs = async (choice) => {
  const { email, password, firstName, lastName } = Object.fromEntries(new FormData(form))
  const names = { firstName, ...(lastName && { lastName }) }
  const session = field.isNew.checked
    ? await ask('POST', 'register', { email, password, ...names, invitationToken: token })
    : await ask('POST', 'login', { email, password })
  try {
    if (!field.isNew.checked) await ask('POST', invitation + '/' + choice, undefined, session.accessToken)
  } finally {
    await ask('POST', 'logout', undefined, session.accessToken)
  }
  form.hidden = true
  tell(choice === 'accept' ? 'You are a member now. You can sign in.' : 'You have declined the invitation.')
}
form.addEventListener('submit', async (event) => {
  event.preventDefault()
  for (const button of form.querySelectorAll('button')) button.disabled = true
  await answerAs(event.submitter?.value ?? 'accept').catch((error) => tell(error.message))
  for (const button of form.querySelectorAll('button')) button.disabled = false
})
try {
  const { tenant, inviter, role, email } = await ask('GET', invitation)
  document.querySelector('#about').textContent = inviter.name + ' invites ' + email + ' to join ' + tenant.name + ' as ' + role + '.'
  form.hidden = false
} catch (error) {
  tell(error.message)
}
`

/** The page that an invitation's link leads to. Opening it answers nothing; only the person's click does. */
export const invitationPage = (app: App): void =>
  pageRoute(app, pages.invitation, { title: 'You are invited', body, script })
