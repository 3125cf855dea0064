/** Where something happened, in words that we chose: nothing a stranger typed gets into a mail through it. */
export type Whereabouts = { at: string; address: string | null; device: string }

/** A plan that ends, and the one that follows it, by their names; `next` null: none. */
type PlanNews = { link: string; tenant: string; plan: string; until: string; next: string | null }

/** Everything we ever write to people. A link carries a secret; its page asks before it does anything. */
export type Letter =
  | { kind: 'sign-up'; link: string }
  | { kind: 'account-exists'; link: string }
  | { kind: 'verify-email'; link: string }
  | { kind: 'reset-password'; link: string }
  | { kind: 'choose-password'; link: string }
  | { kind: 'invitation'; link: string; tenant: string; inviter: string }
  | {
      kind: 'operator-entered'
      link: string
      tenant: string
      operator: string
      reason: string
      until: string
    }
  | { kind: 'system-user-let-in'; link: string; tenant: string; operator: string; name: string; role: string }
  | ({ kind: 'plan-ending' } & PlanNews)
  | ({ kind: 'plan-ended' } & PlanNews)
  | { kind: 'new-device'; where: Whereabouts; link: string }
  | { kind: 'password-changed'; where: Whereabouts; link: string }
  | { kind: 'link-identity'; provider: string; link: string }
  | { kind: 'identity-linked'; provider: string; where: Whereabouts; link: string }
  | { kind: 'identity-removed'; provider: string; where: Whereabouts; link: string }
  | { kind: 'token-reused'; where: Whereabouts; link: string }

/** A letter before it is text or HTML. */
export type Content = {
  subject: string
  paragraphs: readonly string[]
  action: { label: string; link: string }
  closing: string
}

const notYou = 'If you did not ask for this, ignore this mail: nothing changes.'
const ifNotYou =
  'If this was not you, somebody may know your password: choose a new one now, which signs everybody out.'

const whereLines = ({ at, address, device }: Whereabouts): string =>
  `When: ${at}\nFrom: ${address ?? 'an unknown address'}\nWith: ${device}`

const oneLine = (text: string): string => text.replaceAll(/[\p{C}\s]+/gu, ' ').trim()

/** A name that its owner chose, fit for a stranger's mailbox: one line, and nothing that a mail program turns into a link. */
const plainName = (name: string, otherwise = 'a team'): string => {
  const line = oneLine(name).slice(0, 100)
  return /:\/\/|www\.|\p{L}\.\p{L}{2}/iu.test(line) || line === '' ? otherwise : line
}

/** A sentence that somebody wrote, on one line; what a mail program would turn into a link falls apart. */
const plainSentence = (text: string): string =>
  oneLine(text)
    .replaceAll('://', ' ')
    .replaceAll(/([\p{L}\p{N}])[.@](?=\p{L})/gu, '$1 ')

type Kind = Letter['kind']
type Composers = { [K in Kind]: (letter: Extract<Letter, { kind: K }>) => Content }

const afterwards = (next: string | null): string =>
  next === null
    ? 'From then on everything there can be read and deleted, and nothing added, until a plan is chosen.'
    : `From then on it has the plan ${plainName(next, 'that follows')}. What is beyond its limits stays, and gets no more.`

const adminsOnly = 'You get this mail because you are an Admin there.'

const aboutAccount = (subject: string, what: string, where: Whereabouts, link: string): Content => ({
  subject,
  paragraphs: [what, whereLines(where)],
  action: { label: 'Choose a new password', link },
  closing: ifNotYou,
})

const composers: Composers = {
  'sign-up': ({ link }) => ({
    subject: 'Confirm your email address',
    paragraphs: [
      'Somebody, hopefully you, signed up with this email address. Confirm it to open the account.',
      'The link works once, for 24 hours.',
    ],
    action: { label: 'Confirm the address', link },
    closing: 'If you did not sign up, do not follow the link: without it there will be no account.',
  }),
  'account-exists': ({ link }) => ({
    subject: 'You already have an account',
    paragraphs: [
      'Somebody, hopefully you, signed up with this email address. It has an account already, so nothing was changed.',
      'Sign in with your password. If you have forgotten it, ask for a new one.',
    ],
    action: { label: 'Ask for a new password', link },
    closing: notYou,
  }),
  'verify-email': ({ link }) => ({
    subject: 'Confirm your email address',
    paragraphs: ['Please confirm that this is your email address.', 'The link works once, for 24 hours.'],
    action: { label: 'Confirm the address', link },
    closing: 'If you have no account here, do not follow the link.',
  }),
  'reset-password': ({ link }) => ({
    subject: 'Choose a new password',
    paragraphs: [
      'Somebody, hopefully you, asked for a new password for your account.',
      'The link works once, for one hour. A new password signs everybody out who is signed in now.',
    ],
    action: { label: 'Choose a new password', link },
    closing: notYou,
  }),
  'choose-password': ({ link }) => ({
    subject: 'Choose your password',
    paragraphs: [
      'Your address is confirmed. More than one person had signed up with it, so none of their passwords was taken.',
      'The link works once, for one hour.',
    ],
    action: { label: 'Choose your password', link },
    closing: 'Later you can ask for another link on the page for forgotten passwords.',
  }),
  invitation: ({ link, tenant, inviter }) => ({
    subject: 'You are invited',
    paragraphs: [
      `${plainName(inviter, 'Somebody')} invites you to join ${plainName(tenant, 'a team')}.`,
      'Sign in, or sign up with this email address, to accept. The link works once, for 7 days.',
    ],
    action: { label: 'See the invitation', link },
    closing: 'If you do not know who this is, ignore this mail: nothing happens.',
  }),
  'operator-entered': ({ link, tenant, operator, reason, until }) => ({
    subject: 'An operator of this service entered your tenant',
    paragraphs: [
      `${operator}, who operates this service, entered ${plainName(tenant)} without being a member of it.`,
      `Their reason: ${plainSentence(reason)}`,
      `They can work there as an Admin until ${until}. What they do is in the audit log of the tenant.`,
    ],
    action: { label: 'Open the console', link },
    closing: 'You get this mail because you are an Admin there. If it surprises you, ask the operator.',
  }),
  'system-user-let-in': ({ link, tenant, operator, name, role }) => ({
    subject: 'An operator of this service let a program into your tenant',
    paragraphs: [
      `${operator}, who operates this service, let the system user ${plainName(name, 'of theirs')} into ${plainName(tenant)}.`,
      `It has the role ${plainName(role, 'they gave it')} there until it is taken out. What it does is in the audit log of the tenant.`,
    ],
    action: { label: 'Open the console', link },
    closing: 'You get this mail because you are an Admin there. If it surprises you, ask the operator.',
  }),
  'plan-ending': ({ link, tenant, plan, until, next }) => ({
    subject: 'Your plan ends soon',
    paragraphs: [
      `${plainName(tenant)} has the plan ${plainName(plan, 'it has now')} until ${until}.`,
      `${afterwards(next)} Nothing is deleted.`,
    ],
    action: { label: 'Choose a plan', link },
    closing: adminsOnly,
  }),
  'plan-ended': ({ link, tenant, plan, until, next }) => ({
    subject: 'Your plan has ended',
    paragraphs: [
      `${plainName(tenant)} had the plan ${plainName(plan, 'of before')} until ${until}.`,
      `${afterwards(next)} Nothing was deleted.`,
    ],
    action: { label: 'Choose a plan', link },
    closing: adminsOnly,
  }),
  'new-device': ({ where, link }) =>
    aboutAccount(
      'A new device signed in to your account',
      'Your account was signed in to from a device or network that was not seen before.',
      where,
      link,
    ),
  'password-changed': ({ where, link }) =>
    aboutAccount(
      'Your password was changed',
      'The password of your account was changed, and everybody else was signed out.',
      where,
      link,
    ),
  'link-identity': ({ provider, link }) => ({
    subject: `Connect ${provider} to your account?`,
    paragraphs: [
      `Somebody, hopefully you, wants to sign in with ${provider}. An account with this email address is here already.`,
      `If it was you, connect the two; then you can sign in with ${provider}. If nobody has confirmed this address here before, the account's old password stops working and everybody is signed out.`,
      'The link works once, for one hour.',
    ],
    action: { label: `Connect ${provider}`, link },
    closing: notYou,
  }),
  'identity-linked': ({ provider, where, link }) =>
    aboutAccount(
      `${provider} was connected to your account`,
      `Your account can now be signed in to with ${provider}.`,
      where,
      link,
    ),
  'identity-removed': ({ provider, where, link }) =>
    aboutAccount(
      `${provider} was disconnected from your account`,
      `Your account can no longer be signed in to with ${provider}.`,
      where,
      link,
    ),
  'token-reused': ({ where, link }) =>
    aboutAccount(
      'A session was ended to protect your account',
      'A key to one of your sessions was used a second time. That happens when somebody has copied it, so the session was ended.',
      where,
      link,
    ),
}

/** The words of a letter. */
export const compose = <L extends Letter>(letter: L): Content => {
  const composer = composers[letter.kind] as (letter: L) => Content
  return composer(letter)
}
