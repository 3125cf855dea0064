import { Type } from 'typebox'
import { defineJobType } from '../job-type.ts'

export const echo = defineJobType({
  name: 'echo',
  summary: 'Answers its payload as its result.',
  payload: Type.Unknown(),
  run: async (_trx, payload) => payload,
})
