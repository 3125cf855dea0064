import { PrismaPg } from '@prisma/adapter-pg'
import { clientOptions } from '../../../src/kernel/postgres-address.ts'
import { serve } from '../../lib/serve.ts'
import { PrismaClient } from '../dist/prisma/client.ts'
import { peerAddress, poolSize } from '../lib/databases.ts'
import { type Backend, expressApp } from '../lib/express-app.ts'
import { servedBy } from '../lib/served.ts'

const columns = {
  id: true,
  name: true,
  description: true,
  workspaceId: true,
  createdBy: true,
  createdAt: true,
  updatedAt: true,
} as const

/** Express, jsonwebtoken and Prisma as its documentation shows it: the session, then the membership with its role. */
serve(async (setup) => {
  const adapter = new PrismaPg({ ...clientOptions(peerAddress('express', setup)), max: poolSize })
  const prisma = new PrismaClient({ adapter })
  const backend: Backend = {
    permissionsOf: async ({ personId, sessionId, tenantId }) => {
      const session = await prisma.session.findUnique({
        where: { id: sessionId, personId, revokedAt: null, expiresAt: { gt: new Date() } },
        select: { id: true },
      })
      if (session === null) return undefined
      const membership = await prisma.membership.findUnique({
        where: { tenantId_personId: { tenantId, personId } },
        select: { role: { select: { permissions: true } } },
      })
      return membership?.role.permissions ?? null
    },
    listProjects: (tenantId, limit) =>
      prisma.project.findMany({ where: { tenantId }, orderBy: { id: 'desc' }, take: limit, select: columns }),
    close: () => prisma.$disconnect(),
  }
  return servedBy(expressApp(backend), backend.close)
})
