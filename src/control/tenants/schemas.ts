import { Type } from 'typebox'
import { Body, Line, Slug } from '../../http/schemas.ts'

/** The plan a tenant has until somebody who may decide gives it another one. */
export const defaultPlan = 'free'

export const CreateTenantBody = Body({
  name: Line({ maxLength: 200 }),
  slug: Type.Optional(Slug()),
  plan: Type.Optional(Type.Literal(defaultPlan)),
  region: Type.Optional(
    Line({ maxLength: 63, description: 'Where the database shall be; default: wherever there is room' }),
  ),
  tier: Type.Optional(Type.Literal('shared')),
})

export const TenantParams = Type.Object({
  tenant: Type.String({ minLength: 1, maxLength: 63, description: 'Id or slug' }),
})
