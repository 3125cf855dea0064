import { type Paired, runOnce, runPaired } from './pair.ts'
import type { Spread } from './random.ts'
import { type ServerName, type ServerProcess, startServer } from './server-process.ts'
import { inTurn } from './turn.ts'
import type { World } from './world.ts'

/** One column: so many tenants are asked for, and so many connections may be open for them. */
export type Column = Readonly<{ name: string; tenants: number; spread: Spread; connections: number }>

/** How long things last, in seconds, and how often they are repeated. */
export type Pace = Readonly<{ rounds: number; seconds: number; warmUp: number }>

export const usualPace: Pace = { rounds: 5, seconds: 2.5, warmUp: 4 }
export const quickPace: Pace = { rounds: 3, seconds: 1, warmUp: 2 }
/** Requests under way at a time. */
export const connections = 64
/** At the beginning of each run: the other server had the processor until now. */
export const settling = 0.3

/** Starts servers, works with them, and stops them. Take a turn around it. */
export const withServers = async <T>(
  world: World,
  column: Column,
  names: readonly ServerName[],
  options: { profile?: string | undefined },
  work: (servers: readonly ServerProcess[]) => Promise<T>,
): Promise<T> => {
  const tenants = world.tenants.slice(0, column.tenants)
  const setup = { grounds: world.grounds, tenants, connections: column.connections }
  const servers: ServerProcess[] = []
  try {
    for (const name of names) {
      const profile = name === 'freehold' ? options.profile : undefined
      servers.push(await startServer(name, setup, { profile }))
    }
    return await work(servers)
  } finally {
    for (const server of servers) await server.stop()
  }
}

/** Measures one server in one column, each run right after one of the ceiling. Throws when an answer was not as expected. */
export const measureCell = (
  world: World,
  column: Column,
  name: ServerName,
  options: { pace: Pace; profile?: string | undefined },
): Promise<Paired> =>
  inTurn(() =>
    withServers(world, column, ['ceiling', name], options, async ([ceiling, own]) => {
      if (ceiling === undefined || own === undefined) throw new Error('a server is missing')
      const { rounds, seconds, warmUp } = options.pace
      const tenants = world.tenants.slice(0, column.tenants)
      const load = { tenants, spread: column.spread, connections, warmUp: settling, seconds }
      for (const server of [ceiling, own]) await runOnce(server, { ...load, warmUp, seconds: settling })
      return runPaired(ceiling, own, load, rounds)
    }),
  )
