import { Type } from 'typebox'
import { publicRoute } from '../../http/access-rules.ts'
import type { App } from '../../http/app.ts'
import { answers } from '../../http/schemas.ts'
import type { PublicJwk } from '../../kernel/jws.ts'

/** Milliseconds for which the keys are kept: asking for them is free for strangers. */
const kept = 10_000

/** The public keys of signed audit heads, apart from those of access tokens: they are never forgotten. */
export const auditKeysRoute = (app: App, readKeys: () => Promise<{ keys: PublicJwk[] }>): void => {
  let found: { at: number; answer: Promise<{ keys: PublicJwk[] }> } | undefined
  app.get(
    '/.well-known/audit-keys.json',
    {
      config: publicRoute('public keys are public'),
      schema: {
        tags: ['Public'],
        summary: 'Keys that verify checkpoints of audit logs (RFC 7517)',
        response: answers({
          200: Type.Object({ keys: Type.Array(Type.Record(Type.String(), Type.String())) }),
        }),
      },
    },
    async () => {
      if (found === undefined || Date.now() - found.at > kept) found = { at: Date.now(), answer: readKeys() }
      const { keys } = await found.answer.catch((error: unknown) => {
        found = undefined
        throw error
      })
      return { keys: keys.map((key) => ({ ...key })) }
    },
  )
}
