import { randomSecret } from '../kernel/crypto.ts'
import { opaqueTokenHash } from './opaque-tokens.ts'

const prefix = 'fhi_'

/** What is stored of an invitation's token; undefined when the text cannot be one. */
export const invitationTokenHash = (token: string): Buffer | undefined => opaqueTokenHash(prefix, token)

/** A token of 256 random bits for the link in a mail, and its SHA-256, which is all that is kept. */
export const newInvitationToken = (): { token: string; hash: Buffer } => {
  const token = prefix + randomSecret()
  const hash = invitationTokenHash(token)
  if (hash === undefined) throw new Error('a new token has the wrong shape')
  return { token, hash }
}
