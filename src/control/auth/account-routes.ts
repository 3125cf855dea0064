import { accountRoute, publicRoute } from '../../http/access-rules.ts'
import type { App } from '../../http/app.ts'
import { identityOf } from '../../http/guards.ts'
import { callerOf } from '../../http/identity.ts'
import { Page, PageQuery, readCursor, toPage } from '../../http/paging.ts'
import { answers, IdParams, NoContent } from '../../http/schemas.ts'
import { AppError } from '../../kernel/errors.ts'
import { writeMasterAudit } from '../../master/audit-log.ts'
import { findPerson, normalizeEmail, type Person } from '../../master/people.ts'
import type { ControlDeps } from '../control-deps.ts'
import { askInMail } from './account-requests.ts'
import { verifyEmail } from './email-flows.ts'
import { addressLimits } from './limits.ts'
import { changePassword, resetPassword } from './password-flows.ts'
import { listSessions, renamePerson } from './queries.ts'
import {
  AcceptedView,
  EmailBody,
  PasswordBody,
  ProfileBody,
  ResendBody,
  ResetBody,
  SessionItem,
  toUserView,
  UserView,
  VerifiedView,
  VerifyBody,
} from './schemas.ts'
import { endAllSessions, endOwnSession } from './session-flows.ts'

const tags = ['Account']

const present = (person: Person | undefined): Person => {
  if (person === undefined) throw new AppError('unauthenticated', 'There is no such account any more.')
  return person
}

const passwordRoutes = (app: App, deps: ControlDeps): void => {
  app.put(
    '/auth/password',
    {
      config: accountRoute(),
      schema: {
        tags,
        summary: 'Change my password',
        description: 'Ends my other sessions.',
        body: PasswordBody,
        response: answers({ 204: NoContent }),
      },
    },
    async (request, reply) => {
      await changePassword(deps, identityOf(request), request.body, callerOf(request))
      return reply.code(204).send(null)
    },
  )

  app.post(
    '/auth/password/forgot',
    {
      ...deps.limitByAddress(addressLimits.mails),
      config: publicRoute('who has forgotten the password can give no proof; the mail goes to the owner'),
      schema: {
        tags,
        summary: 'Ask for a new password',
        body: EmailBody,
        response: answers({ 202: AcceptedView }),
      },
    },
    async (request, reply) => {
      const email = normalizeEmail(request.body.email)
      await askInMail(deps, { kind: 'forgot', email, caller: callerOf(request) })
      reply.code(202)
      return { message: 'If there is an account with this address, a mail with a link is on its way.' }
    },
  )

  app.post(
    '/auth/password/reset',
    {
      ...deps.limitByAddress(addressLimits.links),
      config: publicRoute('the token from the mail is the proof'),
      schema: {
        tags,
        summary: 'Choose a new password',
        description: 'Ends every session.',
        body: ResetBody,
        response: answers({ 204: NoContent }),
      },
    },
    async (request, reply) => {
      await resetPassword(deps, request.body, callerOf(request))
      return reply.code(204).send(null)
    },
  )
}

const emailRoutes = (app: App, deps: ControlDeps): void => {
  app.post(
    '/auth/email/verify',
    {
      ...deps.limitByAddress(addressLimits.links),
      config: publicRoute('the token from the mail is the proof'),
      schema: {
        tags,
        summary: 'Prove an email address',
        body: VerifyBody,
        response: answers({ 200: VerifiedView }),
      },
    },
    async (request) => ({
      ...(await verifyEmail(deps, request.body.token, callerOf(request))),
      emailVerified: true as const,
    }),
  )

  app.post(
    '/auth/email/resend',
    {
      ...deps.limitByAddress(addressLimits.mails),
      config: publicRoute('before there is an account nobody can sign in; the mail goes to the owner'),
      schema: {
        tags,
        summary: 'Ask for another link to prove an address',
        description: 'With an email address, or signed in and without a body.',
        body: ResendBody,
        response: answers({ 202: AcceptedView }),
      },
    },
    async (request, reply) => {
      const ownAddress = async (): Promise<string> => {
        const { personId, system } = await deps.authenticate(request)
        if (system) throw new AppError('forbidden', 'This is for people; system users prove no address.')
        return present(await findPerson(deps.db, personId)).email
      }
      const email = request.body?.email ?? (await ownAddress())
      await askInMail(deps, { kind: 'resend', email: normalizeEmail(email), caller: callerOf(request) })
      reply.code(202)
      return { message: 'If this address waits to be confirmed, a mail with a link is on its way.' }
    },
  )
}

const profileRoutes = (app: App, deps: ControlDeps): void => {
  app.get(
    '/auth/me',
    { config: accountRoute(), schema: { tags, summary: 'My profile', response: answers({ 200: UserView }) } },
    async (request) => toUserView(present(await findPerson(deps.db, identityOf(request).personId))),
  )

  app.patch(
    '/auth/me',
    {
      config: accountRoute(),
      schema: { tags, summary: 'Change my names', body: ProfileBody, response: answers({ 200: UserView }) },
    },
    async (request) => {
      const { personId } = identityOf(request)
      const { firstName, lastName } = request.body
      const person = await deps.db.transaction().execute(async (trx) => {
        await writeMasterAudit(trx, {
          actor: { kind: 'person', id: personId },
          action: 'person.updated',
          entity: { type: 'person', id: personId },
          caller: callerOf(request),
        })
        return renamePerson(trx, personId, { firstName, lastName })
      })
      return toUserView(present(person))
    },
  )
}

const ownSessionRoutes = (app: App, deps: ControlDeps): void => {
  app.get(
    '/auth/sessions',
    {
      config: accountRoute(),
      schema: {
        tags,
        summary: 'Where I am signed in',
        querystring: PageQuery,
        response: answers({ 200: Page(SessionItem) }),
      },
    },
    async (request) => {
      const { personId, sessionId } = identityOf(request)
      const { limit, cursor } = request.query
      const sessions = await listSessions(deps.db, personId, { limit, after: readCursor(cursor) })
      return toPage(
        sessions.map((session) => ({ ...session, current: session.id === sessionId })),
        limit,
      )
    },
  )

  app.delete(
    '/auth/sessions/:id',
    {
      config: accountRoute(),
      schema: {
        tags,
        summary: 'End one of my sessions',
        params: IdParams,
        response: answers({ 204: NoContent }),
      },
    },
    async (request, reply) => {
      const { personId, sessionId, inCookies } = identityOf(request)
      const who = { personId, sessionId: request.params.id }
      if (!(await endOwnSession(deps, who, 'revoked', callerOf(request)))) {
        throw new AppError('not_found', 'You have no session with this id.')
      }
      if (inCookies && who.sessionId === sessionId) deps.cookies.clear(reply)
      return reply.code(204).send(null)
    },
  )

  app.post(
    '/auth/logout-all',
    {
      config: accountRoute(),
      schema: { tags, summary: 'End all my sessions', response: answers({ 204: NoContent }) },
    },
    async (request, reply) => {
      const { personId, inCookies } = identityOf(request)
      await endAllSessions(deps, personId, callerOf(request))
      if (inCookies) deps.cookies.clear(reply)
      return reply.code(204).send(null)
    },
  )
}

/** A person's own account: password, address, names, sessions. */
export const accountRoutes = (app: App, deps: ControlDeps): void => {
  passwordRoutes(app, deps)
  emailRoutes(app, deps)
  profileRoutes(app, deps)
  ownSessionRoutes(app, deps)
}
