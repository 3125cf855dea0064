/** The pages that links in mails lead to. Fixed: mails that were sent stay in mailboxes. */
export const pages = {
  verifyEmail: '/auth/email/verify',
  resendLink: '/auth/email/resend',
  resetPassword: '/auth/password/reset',
  forgotPassword: '/auth/password/forgot',
  confirmIdentity: '/auth/identities/confirm',
  invitation: '/auth/invitation',
} as const

/**
 * The address of a page. The token stands behind `#`, which browsers keep to themselves: it reaches no log, no proxy and
 * no other site.
 */
export const linkTo = (publicUrl: string, page: keyof typeof pages, token?: string): string =>
  publicUrl + pages[page] + (token === undefined ? '' : `#token=${token}`)
