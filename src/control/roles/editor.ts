import type { FastifyRequest } from 'fastify'
import type { Permission } from '../../access/catalogue.ts'
import { memberRoute, platformRoute } from '../../http/access-rules.ts'
import { identityOf, type MemberScope, memberScopeOf } from '../../http/guards.ts'
import { callerOf } from '../../http/identity.ts'

/** Who sees and changes roles and policies: a member of one tenant, or (null) a platform admin the system-wide ones. */
export type Editor = Readonly<
  Pick<MemberScope, 'personId' | 'actor' | 'caller'> & { tenantId: MemberScope['tenantId'] | null }
>

/** The two places where the same routes stand. */
export type Surface = {
  readonly base: '/api' | '/platform'
  readonly tags: string[]
  readonly rule: (permission: Permission, also?: { adds?: true }) => ReturnType<typeof platformRoute>
  readonly editorOf: (request: FastifyRequest) => Editor
}

const ofTenant: Surface = {
  base: '/api',
  tags: ['Roles'],
  rule: memberRoute,
  editorOf: memberScopeOf,
}

const ofPlatform: Surface = {
  base: '/platform',
  tags: ['Platform'],
  rule: () => platformRoute(),
  editorOf: (request) => {
    const { personId } = identityOf(request)
    return { tenantId: null, personId, actor: { kind: 'person', id: personId }, caller: callerOf(request) }
  },
}

export const surfaces = [ofTenant, ofPlatform] as const
