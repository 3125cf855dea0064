import { AsyncLocalStorage } from 'node:async_hooks'
import type { Service } from '../../src/service.ts'

type Method = (this: unknown, ...args: unknown[]) => unknown

/** Puts another method in the place of `owner`'s until `restore` is called. */
const replace = <K extends string>(owner: Record<K, Method>, key: K, by: (original: Method) => Method) => {
  const original = owner[key]
  owner[key] = by(original)
  return {
    restore: () => {
      owner[key] = original
    },
  }
}

const textOf = ([first]: unknown[]): string =>
  typeof first === 'string' ? first : ((first as { text?: string }).text ?? '')

/**
 * What `ask` asks of the master up to its answer: `connect` whenever it wants a connection of the pool, whether it waits for that
 * or not, and every statement. What the node says there by itself meanwhile, on its timers, is not among it.
 */
export const masterStatements = async (
  { master }: Pick<Service, 'master'>,
  ask: () => Promise<unknown>,
): Promise<string[]> => {
  const seen: string[] = []
  const asking = new AsyncLocalStorage<true>()
  const pool = master.pool as unknown as { connect: Method }
  const clients = master.pool.Client.prototype as unknown as { query: Method }
  const replaced = [
    replace(pool, 'connect', (connect) => (...args) => {
      if (asking.getStore()) seen.push('connect')
      return connect.apply(pool, args)
    }),
    replace(
      clients,
      'query',
      (query) =>
        function (...args) {
          // Tenants' connections are of the same kind.
          const isMaster = (this as { database?: string }).database === master.address.database
          if (asking.getStore() && isMaster) seen.push(textOf(args))
          return query.apply(this, args)
        },
    ),
  ]
  try {
    await asking.run(true, ask)
  } finally {
    for (const { restore } of replaced) restore()
  }
  return seen
}
