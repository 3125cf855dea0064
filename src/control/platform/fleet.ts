import type { TSchema } from 'typebox'
import { platformRoute } from '../../http/access-rules.ts'
import type { App } from '../../http/app.ts'
import { Page, PageQuery, readCursor, toPage } from '../../http/paging.ts'
import { answers, IdParams } from '../../http/schemas.ts'
import { AppError } from '../../kernel/errors.ts'
import { findTenant } from '../../master/tenants.ts'
import type { ControlDeps } from '../control-deps.ts'
import {
  countVersions,
  findCluster,
  findDatabase,
  findOperation,
  listClustersOf,
  listDatabases,
  listFailedMigrations,
  listOperations,
} from './fleet-queries.ts'
import {
  ClusterView,
  DatabasesQuery,
  DatabaseView,
  MigrationsView,
  OperationsQuery,
  OperationView,
  toClusterView,
  toDatabaseView,
  toMigrationsView,
  toOperationView,
} from './fleet-schemas.ts'

const tags = ['Platform']
const config = platformRoute()

type Deps = Pick<ControlDeps, 'db' | 'manager'>

const found = <T>(row: T | undefined, what: string): T => {
  if (row === undefined) throw new AppError('not_found', `There is no ${what} with this id.`)
  return row
}

/** The id of the tenant to list by; throws `not_found` when there is none. */
const tenantIdOf = async (deps: Deps, tenant: string | undefined): Promise<string | undefined> => {
  if (tenant === undefined) return undefined
  const row = await findTenant(deps.db, tenant)
  if (row === undefined) throw new AppError('not_found', 'There is no tenant with this id or slug.')
  return row.id
}

const listOf = <const Q extends TSchema, const T extends TSchema>(
  summary: string,
  querystring: Q,
  item: T,
) => ({
  config,
  schema: { tags, summary, querystring, response: answers({ 200: Page(item) }) },
})

const oneOf = <const T extends TSchema>(summary: string, item: T) => ({
  config,
  schema: { tags, summary, params: IdParams, response: answers({ 200: item }) },
})

const operationRoutes = (app: App, deps: Deps): void => {
  app.get(
    '/platform/operations',
    listOf('The journal of lifecycle work', OperationsQuery, OperationView),
    async ({ query: { limit, cursor, kind, status, tenant, databaseId } }) => {
      const filter = { kind, status, databaseId, tenantId: await tenantIdOf(deps, tenant) }
      const page = toPage(await listOperations(deps.db, { limit, after: readCursor(cursor) }, filter), limit)
      return { data: page.data.map(toOperationView), nextCursor: page.nextCursor }
    },
  )
  app.get('/platform/operations/:id', oneOf('One operation', OperationView), async ({ params }) =>
    toOperationView(found(await findOperation(deps.db, params.id), 'operation')),
  )
}

const placeRoutes = (app: App, deps: Deps): void => {
  app.get(
    '/platform/clusters',
    listOf('The Postgres servers that databases live on', PageQuery, ClusterView),
    async ({ query: { limit, cursor } }) => {
      const page = toPage(await listClustersOf(deps.db, { limit, after: readCursor(cursor) }), limit)
      return { data: page.data.map(toClusterView), nextCursor: page.nextCursor }
    },
  )
  app.get('/platform/clusters/:id', oneOf('One cluster', ClusterView), async ({ params }) =>
    toClusterView(found(await findCluster(deps.db, params.id), 'cluster')),
  )
  app.get(
    '/platform/databases',
    listOf('Every tenant database there is, and who holds it', DatabasesQuery, DatabaseView),
    async ({ query: { limit, cursor, tenant, ...rest } }) => {
      const filter = { ...rest, tenantId: await tenantIdOf(deps, tenant) }
      const page = toPage(await listDatabases(deps.db, { limit, after: readCursor(cursor) }, filter), limit)
      return { data: page.data.map(toDatabaseView), nextCursor: page.nextCursor }
    },
  )
  app.get('/platform/databases/:id', oneOf('One database', DatabaseView), async ({ params }) =>
    toDatabaseView(found(await findDatabase(deps.db, params.id), 'database')),
  )
}

const shownFailures = 100

const migrationsRoute = (app: App, deps: Deps): void => {
  app.get(
    '/platform/migrations',
    {
      config,
      schema: {
        tags,
        summary: 'How far the databases of all tenants are migrated',
        response: answers({ 200: MigrationsView }),
      },
    },
    async () =>
      toMigrationsView(
        await deps.manager.schemaVersion(),
        await countVersions(deps.db),
        await listFailedMigrations(deps.db, shownFailures),
      ),
  )
}

/** Where databases are and what is done to them, as the master knows it. Opens none of them. */
export const fleetRoutes = (app: App, deps: Deps): void => {
  operationRoutes(app, deps)
  placeRoutes(app, deps)
  migrationsRoute(app, deps)
}
