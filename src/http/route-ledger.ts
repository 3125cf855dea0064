import type { RouteOptions } from 'fastify'
import { allPermissions } from '../access/catalogue.ts'
import type { AccessRule } from './access-rules.ts'
import type { App } from './app.ts'
import type { Guards } from './guards.ts'

/** One line of the list of routes. */
export type LedgerEntry = { method: string; path: string; access: AccessRule }

/** The scope that a path must have, so that a rule can't be weaker than the address promises. */
const scopeOfPath = (path: string): AccessRule['scope'] | undefined => {
  if (path === '/api' || path.startsWith('/api/')) return 'tenant'
  if (path === '/platform' || path.startsWith('/platform/')) return 'platform'
  return undefined
}

/** The compiler says it first; this is for a rule that was put together from text. */
const known = new Set<string>([...allPermissions, 'any member'])

const ruleOf = (route: RouteOptions): AccessRule => {
  const rule = route.config?.access
  if (rule === undefined) {
    throw new Error(
      `route ${String(route.method)} ${route.url} does not say who may call it: give it config.access`,
    )
  }
  const wanted = scopeOfPath(route.url)
  if (wanted !== undefined ? wanted !== rule.scope : rule.scope === 'tenant' || rule.scope === 'platform') {
    throw new Error(
      `route ${String(route.method)} ${route.url} has scope ${rule.scope}, which its path does not allow`,
    )
  }
  if (rule.scope === 'tenant' && !known.has(rule.permission)) {
    throw new Error(
      `route ${String(route.method)} ${route.url} asks for ${rule.permission}, which is not in access/catalogue.ts`,
    )
  }
  return rule
}

const asList = <T>(hooks: T | T[] | undefined): T[] =>
  hooks === undefined ? [] : Array.isArray(hooks) ? hooks : [hooks]

/**
 * Puts the guard of its rule in front of every route and keeps the list of routes. Must be the first thing done to the
 * root instance: a hook added later, or in a plugin, does not see the routes that came before or beside it. A route
 * without a rule, or with one that its path does not allow, stops the boot.
 */
export const openRouteLedger = (app: App, guards: Guards): { readonly entries: readonly LedgerEntry[] } => {
  const entries: LedgerEntry[] = []
  const refused: Error[] = []
  app.addHook('onRoute', (route) => {
    try {
      const access = ruleOf(route)
      for (const method of asList(route.method)) entries.push({ method, path: route.url, access })
      route.onRequest = [guards.admit(access), ...asList(route.onRequest)]
      if (access.scope === 'tenant' && access.database) route.handler = guards.withTenant(route.handler)
    } catch (error) {
      // Thrown in a plugin that nobody awaits, the error alone could get lost; the boot check below finds it.
      refused.push(error as Error)
      throw error
    }
  })
  app.addHook('onReady', async () => {
    if (refused[0] !== undefined) throw refused[0]
  })
  return { entries }
}
