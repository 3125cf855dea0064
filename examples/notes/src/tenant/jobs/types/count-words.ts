import { sql } from 'kysely'
import { Type } from 'typebox'
import { defineJobType } from '../job-type.ts'

/** What it writes is committed together with the job's success, so it is there once however often the job is tried. */
export const countWords = defineJobType({
  name: 'notes.count-words',
  summary: 'Counts the words of every note.',
  payload: Type.Object({}, { additionalProperties: false }),
  run: async (trx) => {
    const { numUpdatedRows } = await trx
      .updateTable('notes')
      .set({ words: sql<number>`cardinality(regexp_split_to_array(trim(text), '\\s+'))` })
      .executeTakeFirstOrThrow()
    return { notes: Number(numUpdatedRows) }
  },
})
