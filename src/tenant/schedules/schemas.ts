import { type Static, Type } from 'typebox'
import { Body, Id, Line, Nullable, Time } from '../../http/schemas.ts'
import { typeName } from '../jobs/schemas.ts'
import type { ScheduleRow } from './queries.ts'

const name = Line({ maxLength: 200 })
const payload = Type.Unknown({ description: 'What each of its jobs gets; {} by default' })
const cron = Type.String({
  minLength: 1,
  maxLength: 100,
  pattern: '^[0-9A-Za-z*,/# @-]+$',
  description: 'Minute, hour, day of the month, month, day of the week; such as `0 6 * * 1-5`',
})
const timeZone = Type.String({
  minLength: 1,
  maxLength: 100,
  description: 'Whose clocks it is read on, such as Europe/Berlin; UTC by default',
})
const enabled = Type.Boolean({ description: 'True by default' })

export const CreateScheduleBody = Body({
  name,
  type: typeName,
  payload: Type.Optional(payload),
  cron,
  timeZone: Type.Optional(timeZone),
  enabled: Type.Optional(enabled),
})

export const PatchScheduleBody = Body(
  {
    name: Type.Optional(name),
    type: Type.Optional(typeName),
    payload: Type.Optional(payload),
    cron: Type.Optional(cron),
    timeZone: Type.Optional(timeZone),
    enabled: Type.Optional(enabled),
  },
  { minProperties: 1 },
)

export const ScheduleView = Type.Object(
  {
    id: Id(),
    name: Type.String(),
    type: Type.String(),
    payload: Type.Unknown(),
    cron: Type.String(),
    timeZone: Type.String(),
    enabled: Type.Boolean(),
    nextAt: Nullable(Time()),
    lastAt: Nullable(Time()),
    lastJobId: Nullable(Id()),
    createdBy: Nullable(Id()),
    createdAt: Time(),
    updatedAt: Time(),
  },
  { title: 'Schedule' },
)

export const toScheduleView = (row: ScheduleRow): Static<typeof ScheduleView> => ({
  id: row.id,
  name: row.name,
  type: row.type,
  payload: row.payload,
  cron: row.cron,
  timeZone: row.time_zone,
  enabled: row.enabled,
  nextAt: row.next_at?.toISOString() ?? null,
  lastAt: row.last_at?.toISOString() ?? null,
  lastJobId: row.last_job_id,
  createdBy: row.created_by,
  createdAt: row.created_at.toISOString(),
  updatedAt: row.updated_at.toISOString(),
})
