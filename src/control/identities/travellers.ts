import type { Clock } from '../../kernel/clock.ts'
import type { SecretBox } from '../../kernel/crypto.ts'
import { sealedFor } from '../../master/secrets.ts'

type Kind = Parameters<typeof sealedFor.traveller>[0]

/** What travels with a browser and comes back unread and unchanged. Nothing of it is kept here. */
export type Travellers = {
  /** Good for so many seconds. */
  send(kind: Kind, value: object, seconds: number): string
  /** What was sent; undefined when it was changed, is of another kind, too old or not ours. */
  receive(kind: Kind, text: string): (Record<string, unknown> & { expiresAt: number }) | undefined
}

export const createTravellers = (box: SecretBox, clock: Clock): Travellers => ({
  send: (kind, value, seconds) => {
    const sent = { ...value, expiresAt: clock.now().getTime() + seconds * 1_000 }
    return box.seal(JSON.stringify(sent), sealedFor.traveller(kind)).toString('base64url')
  },
  receive: (kind, text) => {
    const bytes = Buffer.from(text, 'base64url')
    if (bytes.toString('base64url') !== text) return undefined
    try {
      const value = JSON.parse(box.open(bytes, sealedFor.traveller(kind)).toString())
      return value.expiresAt > clock.now().getTime() ? value : undefined
    } catch {
      return undefined
    }
  },
})
