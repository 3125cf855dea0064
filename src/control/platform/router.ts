import { platformRoute } from '../../http/access-rules.ts'
import type { App } from '../../http/app.ts'
import type { RouterStats } from '../../http/router-metrics.ts'
import { answers } from '../../http/schemas.ts'
import { listClusterBudgets, listNodeShares } from '../../master/nodes.ts'
import type { ControlDeps } from '../control-deps.ts'
import { RouterView, toRouterView } from './router-view.ts'

/** This node, and its connection router's own numbers. */
export type OwnRouter = { nodeId: string; stats: () => RouterStats }

/** What the connections of all nodes are used for. Opens no tenant's database. */
export const routerRoute = (app: App, deps: Pick<ControlDeps, 'db'>, own: OwnRouter): void => {
  app.get(
    '/platform/router',
    {
      config: platformRoute(),
      schema: {
        tags: ['Platform'],
        summary: 'The connection router: budgets, shares, pools, leases and waiters',
        response: answers({ 200: RouterView }),
      },
    },
    async () => {
      const clusters = await listClusterBudgets(deps.db)
      return toRouterView(own.nodeId, own.stats(), clusters, await listNodeShares(deps.db))
    },
  )
}
