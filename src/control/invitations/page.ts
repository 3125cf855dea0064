import type { App } from '../../http/app.ts'
import { pages } from '../auth/links.ts'
import { pageRoute, statusLine } from '../auth/page.ts'

const body = `<p id="about"></p><form method="post" hidden>
<label><input type="checkbox" name="isNew">I have no account yet</label>
<label>Email<input type="email" name="email" autocomplete="email" maxlength="254" required></label>
<label>Password<input type="password" name="password" autocomplete="current-password" maxlength="256" required></label>
<label hidden>First name<input name="firstName" autocomplete="given-name" maxlength="100"></label>
<label hidden>Last name (if you like)<input name="lastName" autocomplete="family-name" maxlength="100"></label>
<button value="accept">Accept</button><button value="decline">Decline</button></form>${statusLine}
<p id="again" hidden><a href="email/resend">Send me the link again</a></p>`

/**
 * Shows who invites to what, then signs in or up and answers; the session it needs for that ends with it. Paths are
 * relative, as the address people use may have a path of its own. Names are set as text, never as HTML.
 */
const script = `
const field = form.elements, [about, again] = document.querySelectorAll('#about, #again')
const invitation = '../invitations/' + encodeURIComponent(token)
const choose = () => {
  const isNew = field.isNew.checked
  for (const name of ['firstName', 'lastName']) field[name].parentElement.hidden = !isNew
  field.firstName.required = isNew
  field.password.autocomplete = isNew ? 'new-password' : 'current-password'
  field.password.minLength = isNew ? 8 : 0
  form.querySelector('[value=decline]').hidden = isNew
}
field.isNew.addEventListener('change', choose)
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
  form.remove()
  again.hidden = true
  tell(choice === 'accept' ? 'You are a member now. You can sign in.' : 'You have declined the invitation.', 'good')
}
form.addEventListener('submit', async (event) => {
  event.preventDefault()
  const buttons = form.querySelectorAll('button'), { submitter } = event
  for (const button of buttons) button.disabled = true
  tell('')
  try {
    await answerAs(submitter?.value ?? 'accept')
  } catch (error) {
    const unproved = error.code === 'email_not_verified'
    again.hidden = !unproved
    tell(unproved ? 'Confirm your email address first, with the link we have sent you. Then accept here.' : error.message)
    for (const button of buttons) button.disabled = false
    submitter?.focus({ preventScroll: true })
  }
})
const show = async () => {
  if (!isToken) throw new Error(noToken)
  const { tenant, inviter, role, email } = await ask('GET', invitation)
  about.textContent = inviter.name + ' invites ' + email + ' to join ' + tenant.name + ' as ' + role + '.'
  choose()
  form.hidden = false
}
show().catch((error) => tell(error.message))
`

/** The page that an invitation's link leads to. Opening it answers nothing; only the person's click does. */
export const invitationPage = (app: App): void =>
  pageRoute(app, pages.invitation, { title: 'You are invited', body, script })
