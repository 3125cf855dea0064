import { type Static, Type } from 'typebox'
import { Body, Id, Nullable, Text, Time } from '../../http/schemas.ts'
import type { NoteRow } from './queries.ts'

export const CreateNoteBody = Body({ text: Text({ maxLength: 1000 }) })

export const NoteView = Type.Object(
  {
    id: Id(),
    text: Type.String(),
    words: Nullable(Type.Integer()),
    createdBy: Nullable(Id()),
    createdAt: Time(),
  },
  { title: 'Note' },
)

export const toNoteView = (row: NoteRow): Static<typeof NoteView> => ({
  id: row.id,
  text: row.text,
  words: row.words,
  createdBy: row.created_by,
  createdAt: row.created_at.toISOString(),
})
