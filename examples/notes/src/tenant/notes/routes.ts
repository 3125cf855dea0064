import { tenantRoute } from '../../http/access-rules.ts'
import type { App } from '../../http/app.ts'
import { Page, PageQuery, readCursor, toPage } from '../../http/paging.ts'
import { answers } from '../../http/schemas.ts'
import { writeAudit } from '../audit-log.ts'
import { tenantOf } from '../tenant-scope.ts'
import { askingUser } from '../users/asking-user.ts'
import { insertNote, listNotes } from './queries.ts'
import { CreateNoteBody, NoteView, toNoteView } from './schemas.ts'

const tags = ['Notes']

/** Notes of one tenant, in that tenant's database. */
export const noteRoutes = (app: App): void => {
  app.get(
    '/api/notes',
    {
      config: tenantRoute('tenant-api:note:read'),
      schema: { tags, querystring: PageQuery, response: answers({ 200: Page(NoteView) }) },
    },
    async (request) => {
      const { limit, cursor } = request.query
      const rows = await listNotes(tenantOf(request).db, { limit: limit + 1, after: readCursor(cursor) })
      const { data, nextCursor } = toPage(rows, limit)
      return { data: data.map(toNoteView), nextCursor }
    },
  )

  app.post(
    '/api/notes',
    {
      config: tenantRoute('tenant-api:note:create'),
      schema: { tags, body: CreateNoteBody, response: answers({ 201: NoteView }) },
    },
    async (request, reply) => {
      const scope = tenantOf(request)
      const note = await scope.db.transaction().execute(async (trx) => {
        const created_by = await askingUser(trx, scope)
        const row = await insertNote(trx, { text: request.body.text, created_by })
        await writeAudit(trx, scope, 'note.created', { type: 'note', id: row.id })
        return row
      })
      reply.code(201)
      return toNoteView(note)
    },
  )
}
