import { type Static, Type } from 'typebox'
import { SortedPageQuery } from '../../http/paging.ts'
import { Body, Email, Id, Line, Nullable, Time } from '../../http/schemas.ts'
import { type UserFilter, type UserRow, userSorts } from './queries.ts'

const name = () => Line({ maxLength: 100 })

/** The whole of what can be said of somebody without an account: creates, and replaces. */
export const UserBody = Body({
  email: Email(),
  firstName: name(),
  lastName: Type.Optional(Nullable(name())),
})

export const PatchUserBody = Body(
  {
    email: Type.Optional(Email()),
    firstName: Type.Optional(name()),
    lastName: Type.Optional(Nullable(name())),
  },
  { minProperties: 1 },
)

const part = (of: string) =>
  Type.Optional(Line({ maxLength: 254, description: `A part of the ${of}, in any case` }))

const oneOf = <const V extends readonly string[]>(values: V, description: string) =>
  Type.Optional(Type.Unsafe<V[number]>({ type: 'string', enum: [...values], description }))

const filters = {
  q: part('name or the address'),
  email: part('address'),
  firstName: part('first name'),
  lastName: part('last name'),
  createdBy: Type.Optional(Id()),
  kind: oneOf(['member', 'added', 'system', 'operator', 'all'], 'Members and added people when left out'),
  status: oneOf(
    ['active', 'inactive', 'pending', 'removed', 'all'],
    'All but those who are no longer members when left out',
  ),
} satisfies { [Name in keyof UserFilter]-?: unknown }

export const UserCountQuery = Type.Object(filters)
export const UserQuery = Type.Object({
  ...SortedPageQuery(userSorts, '-createdAt').properties,
  ...filters,
})

export const UserIdParams = Type.Object({
  id: Type.String({ format: 'uuid', description: 'The id in /api/users, or the userId in /api/members' }),
})

export const UserCount = Type.Object({ count: Type.Integer() })

export const UserView = Type.Object(
  {
    id: Id(),
    personId: Type.Union([Id(), Type.Null()], {
      description: 'The account: the userId in /api/members. Null for somebody who was added and has none',
    }),
    kind: Type.String({ description: 'member, added (here, without an account), system or operator' }),
    status: Type.String({
      description: 'active, inactive or pending as the membership is; removed: a member no more',
    }),
    email: Nullable(Type.String()),
    firstName: Nullable(Type.String()),
    lastName: Nullable(Type.String()),
    createdBy: Nullable(Id()),
    createdAt: Time(),
    updatedAt: Time(),
  },
  { title: 'User' },
)

export const toUserView = (row: UserRow): Static<typeof UserView> => ({
  id: row.id,
  personId: row.person_id,
  kind: row.kind,
  status: row.status,
  email: row.email,
  firstName: row.first_name,
  lastName: row.last_name,
  createdBy: row.created_by,
  createdAt: row.created_at.toISOString(),
  updatedAt: row.updated_at.toISOString(),
})
