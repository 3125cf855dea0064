import { createServer } from 'node:http'
import express from 'express'
import { type Claims, verifyToken } from './tokens.ts'

/** What a session's person may do in the tenant: undefined without a live session, null without a membership. */
export type Permissions = readonly string[] | null | undefined

export type Project = Readonly<{
  id: string
  name: string
  description: string | null
  workspaceId: string | null
  createdBy: string | null
  createdAt: Date
  updatedAt: Date
}>

/** What differs between the servers: how they ask the database. */
export type Backend = Readonly<{
  /** Looks the session, the membership and its role up; nothing of it is remembered. */
  permissionsOf(who: Claims): Promise<Permissions>
  /** The newest first. */
  listProjects(tenantId: string, limit: number): Promise<readonly Project[]>
  close(): Promise<unknown>
}>

export const needed = 'project:read'

const bearer = /^Bearer (\S+)$/i

const identify = (authorization: string | undefined): Claims | undefined => {
  const token = bearer.exec(authorization ?? '')?.[1]
  if (token === undefined) return undefined
  try {
    return verifyToken(token)
  } catch {
    return undefined
  }
}

/** `GET /api/projects?limit=` as a careful developer writes it with Express: 401, 403, or one page of projects. */
export const expressApp = (backend: Backend) => {
  const app = express()
  app.disable('x-powered-by')
  // A hash over every answer, which Freehold does not make either.
  app.set('etag', false)
  app.get('/api/projects', async (request, response) => {
    const who = identify(request.headers.authorization)
    const permissions = who === undefined ? undefined : await backend.permissionsOf(who)
    if (permissions === undefined) return response.status(401).json({ error: 'unauthenticated' })
    if (!permissions?.includes(needed)) return response.status(403).json({ error: 'forbidden' })
    const limit = Math.min(100, Number(request.query.limit ?? 50))
    if (!Number.isInteger(limit) || limit < 1) return response.status(400).json({ error: 'limit' })
    const rows = await backend.listProjects(who.tenantId, limit + 1)
    const data = rows.slice(0, limit)
    return response.json({ data, nextCursor: rows.length > limit ? data.at(-1).id : null })
  })
  return createServer(app)
}
