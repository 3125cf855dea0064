import { Type } from 'typebox'
import { defineJobType } from '../job-type.ts'

export const noop = defineJobType({
  name: 'noop',
  summary: 'Does nothing, and succeeds.',
  payload: Type.Unknown(),
  run: async () => null,
})
