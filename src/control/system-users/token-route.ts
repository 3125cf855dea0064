import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { systemTokenSeconds } from '../../access/system-users.ts'
import { publicRoute } from '../../http/access-rules.ts'
import type { App } from '../../http/app.ts'
import { type Caller, callerOf } from '../../http/identity.ts'
import { problemBody, toAppError } from '../../http/problems.ts'
import { answers, Body } from '../../http/schemas.ts'
import { AppError } from '../../kernel/errors.ts'
import { writeMasterAudit } from '../../master/audit-log.ts'
import { addressLimits } from '../auth/limits.ts'
import type { ControlDeps } from '../control-deps.ts'
import { signInSystemUser } from './sign-in.ts'
import { readForm, readTokenRequest } from './token-request.ts'

const Parameter = () => Type.String({ minLength: 1, maxLength: 300 })
const TokenBody = Body({
  grant_type: Parameter(),
  client_id: Type.Optional(Type.String({ minLength: 1, maxLength: 300, description: 'Id or email' })),
  client_secret: Type.Optional(Parameter()),
  tenant: Type.Optional(Type.String({ minLength: 1, maxLength: 63, description: 'Id or slug' })),
  scope: Type.Optional(
    Type.String({ maxLength: 1000, description: 'Taken and ignored: roles say what it may do' }),
  ),
})
const TokenView = Type.Object(
  {
    access_token: Type.String(),
    token_type: Type.Literal('Bearer'),
    expires_in: Type.Integer({ description: 'Seconds' }),
  },
  { title: 'ClientToken' },
)

const auditFailure = (deps: ControlDeps, caller: Caller): Promise<void> =>
  deps.db.transaction().execute((trx) =>
    writeMasterAudit(trx, {
      actor: { kind: 'nobody', id: null },
      action: 'system_user.sign_in_failed',
      entity: { type: 'system_user', id: null },
      caller,
    }),
  )

/** What RFC 6749, 5.2 calls our errors. */
const oauthError = (error: AppError, grantType: unknown): string | undefined => {
  if (error.code === 'invalid_credentials') return 'invalid_client'
  if (error.status !== 400) return undefined
  return typeof grantType === 'string' && grantType !== 'client_credentials'
    ? 'unsupported_grant_type'
    : 'invalid_request'
}

/** System users sign in: the client credentials grant, as a form or as JSON. Errors carry `error` beside the problem. */
export const tokenRoute = (root: App, deps: ControlDeps): void => {
  void root.register((plain, _options, done) => {
    const app = plain.withTypeProvider<TypeBoxTypeProvider>()
    app.addContentTypeParser(
      /^application\/x-www-form-urlencoded\s*(;\s*charset="?utf-8"?\s*)?$/i,
      { parseAs: 'string' },
      async (_request: unknown, text: string) => readForm(text),
    )
    app.setErrorHandler((thrown, request, reply) => {
      const error = toAppError(thrown)
      const grantType = (request.body as { grant_type?: unknown } | undefined)?.grant_type
      const name = oauthError(error, grantType)
      if (name === undefined) throw error
      if (error.status === 401) reply.header('www-authenticate', 'Basic realm="freehold"')
      return reply
        .code(error.status)
        .type('application/problem+json')
        .serializer((body) => JSON.stringify(body))
        .send({ ...problemBody(error, request.id), error: name, error_description: error.message })
    })
    app.post(
      '/auth/token',
      {
        ...deps.limitByAddress(addressLimits.signIn, 'failures'),
        config: publicRoute('the client secret is the proof'),
        schema: {
          tags: ['Account'],
          summary: 'Sign a system user in (RFC 6749, client credentials)',
          description:
            'A form or JSON; id and secret in the body or as Basic credentials. client_id is the id or the email.',
          consumes: ['application/x-www-form-urlencoded', 'application/json'],
          body: TokenBody,
          response: answers({ 200: TokenView }),
        },
      },
      async (request) => {
        const asked = readTokenRequest(request.body, request.headers.authorization)
        if (asked.grantType !== 'client_credentials') {
          throw new AppError('validation_failed', 'The only grant_type here is client_credentials.')
        }
        const signedIn = await signInSystemUser(deps, asked, callerOf(request))
        if (signedIn === undefined) {
          await auditFailure(deps, callerOf(request))
          throw new AppError('invalid_credentials', 'There is no system user with this id and secret.')
        }
        return {
          access_token: signedIn.accessToken,
          token_type: 'Bearer' as const,
          expires_in: systemTokenSeconds,
        }
      },
    )
    done()
  })
}
