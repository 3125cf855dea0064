/**
 * How long is somebody still let in by one node after another one has revoked it? The changes are committed by this
 * process, as any node would; a second process, started as its operator would, is asked over HTTP without a pause. Timed from
 * the moment the commit was acknowledged until the first refusal has arrived. Then the same with the second node's change channel cut
 * without a word. What was refused once is asked again until the round is over: none may be let in.
 * Usage: node bench/scenarios/revocation.ts [revocations]
 */
import { Agent } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { createLogger } from '../../src/kernel/log.ts'
import { heartbeatMs } from '../../src/master/changes.ts'
import { type Master, openMaster } from '../../src/master/master.ts'
import { countsGiven } from '../lib/command-line.ts'
import { machineLine, report, table } from '../lib/report.ts'
import { openWorld } from '../lib/world.ts'
import { ask, quantile } from './ask.ts'
import { openChangeChannel } from './change-channel.ts'
import { startNode } from './node-process.ts'
import { type Revocation, revocations, type Victim } from './revocations.ts'

const { revocations: wanted } = countsGiven({ revocations: 1_000 })
const victimCount = 50
/** So many victims ask at once while the channel works. */
const lanes = 8
/** How often those ask who are waiting for a node that hears nothing. Milliseconds. */
const cutPauseMs = 20

type Bench = Readonly<{
  master: Master
  address: string
  victims: readonly Victim[]
  agent: Agent
  faults: Map<string, number>
}>

const fault = ({ faults }: Bench, what: string): void => void faults.set(what, (faults.get(what) ?? 0) + 1)

/** True when the node lets this token in, false when it refuses it as it should. */
const isLetIn = async (bench: Bench, { token }: Victim): Promise<boolean> => {
  const { status, body } = await ask({
    ...{ url: `${bench.address}/api/projects?limit=1`, token, agent: bench.agent },
  })
  if (status !== 200 && status !== 401 && status !== 403) fault(bench, `answered ${status}: ${body}`)
  return status === 200
}

/** Asks until the answer is this one. */
const untilLetIn = async (bench: Bench, victim: Victim, letIn: boolean, pauseMs = 0): Promise<void> => {
  while ((await isLetIn(bench, victim)) !== letIn) if (pauseMs > 0) await sleep(pauseMs)
}

/** Revokes and times until the first refusal. */
const timeRevocation = async (
  bench: Bench,
  kind: Revocation,
  victim: Victim,
  pauseMs: number,
): Promise<number> => {
  const state = { at: Number.NaN }
  const refused = untilLetIn(bench, victim, false, pauseMs).then(() => {
    state.at = performance.now()
  })
  await kind.revoke(bench.master.db, victim)
  const committed = performance.now()
  await refused
  return Math.max(0, state.at - committed)
}

/** Every victim once; the kinds take turns. `atOnce` of them at a time, the others wait. */
const round = async (
  bench: Bench,
  number: number,
  options: { atOnce: number; pauseMs: number; begin: () => Promise<void>; end: () => Promise<void> },
): Promise<[string, number][]> => {
  const kindOf = (i: number): Revocation => {
    const kind = revocations[(i + number) % revocations.length]
    if (kind === undefined) throw new Error('there are no kinds')
    return kind
  }
  const { victims, master } = bench
  await Promise.all(victims.map((victim) => untilLetIn(bench, victim, true)))
  await options.begin()
  const times: [string, number][] = []
  const waiting = [...victims.entries()]
  const refused: Victim[] = []
  const lane = async (): Promise<void> => {
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      const [i, victim] = next
      times.push([kindOf(i).name, await timeRevocation(bench, kindOf(i), victim, options.pauseMs)])
      refused.push(victim)
      for (const earlier of refused.slice(-5))
        if (await isLetIn(bench, earlier)) fault(bench, 'let in after it was refused')
    }
  }
  await Promise.all(Array.from({ length: options.atOnce }, lane))
  await options.end()
  for (const victim of refused)
    if (await isLetIn(bench, victim)) fault(bench, 'let in at the end of the round')
  for (const [i, victim] of victims.entries()) await kindOf(i).restore(master.db, victim)
  return times
}

const ready = async ({ address, agent }: Bench): Promise<void> => {
  while ((await ask({ url: `${address}/health/ready`, token: '', agent })).status !== 200) await sleep(20)
}

const rowsOf = (title: string, times: readonly (readonly [string, number])[]): string[][] => {
  const row = (name: string, ms: readonly number[]): string[] => [
    ...[`${title}: ${name}`, String(ms.length)],
    ...[0.5, 0.99, 1].map((part) => quantile(ms, part).toFixed(1)),
  ]
  const kinds = revocations.map(({ name }) =>
    row(
      name,
      times.filter(([kind]) => kind === name).map(([, ms]) => ms),
    ),
  )
  return [
    ...kinds,
    row(
      'all',
      times.map(([, ms]) => ms),
    ),
  ]
}

const world = await openWorld({ tenants: victimCount, maxConnections: 200 })
const channel = await openChangeChannel(world.grounds.master)
const through = <T extends { host: string }>(address: T): T => ({ ...address, host: channel.host })
const { master: direct, provisioner } = world.grounds
const node = await startNode({
  ...world.grounds,
  master: through(direct),
  provisioner: through(provisioner),
})
const master = openMaster(direct, createLogger('warn'))
const agent = new Agent({ keepAlive: true, maxSockets: 64 })
try {
  const members = await master.db
    .selectFrom('sessions')
    .select(['id', 'person_id', 'tenant_id'])
    .where('tenant_id', 'is not', null)
    .execute()
  const victims = world.tenants.map(({ tenantId, token }) => {
    const member = members.find((row) => row.tenant_id === tenantId)
    if (member === undefined) throw new Error('a tenant has no member')
    return { tenantId, token, personId: member.person_id, sessionId: member.id }
  })
  const bench: Bench = { master, address: node.address, victims, agent, faults: new Map() }
  const rounds = Math.ceil(wanted / victimCount)
  const open: [string, number][] = []
  const nothing = { begin: async () => {}, end: async () => {} }
  for (let n = 0; n < rounds; n += 1)
    open.push(...(await round(bench, n, { atOnce: lanes, pauseMs: 0, ...nothing })))
  const cut: [string, number][] = []
  const cutting = {
    begin: async () => {
      // At any moment between two heartbeats: right after one is the worst.
      await sleep(Math.random() * heartbeatMs)
      channel.cut()
    },
    end: async () => {
      channel.mend()
      await ready(bench)
    },
  }
  for (let n = 0; n < rounds; n += 1) {
    await ready(bench)
    cut.push(...(await round(bench, n, { atOnce: victimCount, pauseMs: cutPauseMs, ...cutting })))
  }
  const faults = [...bench.faults.values()].reduce((sum, n) => sum + n, 0)
  const [openMs, cutMs] = [open, cut].map((times) => times.map(([, ms]) => ms))
  await report({
    name: 'revocation',
    text: `${machineLine(world.postgres.version)}\n\n${table(
      ['milliseconds until the other node refuses', 'revoked', 'median', 'p99', 'most'],
      [...rowsOf('channel works', open), ...rowsOf('channel cut', cut)],
    )}`,
    promises: [
      { what: 'p99 while the channel works, ms', seen: quantile(openMs ?? [], 0.99), most: 100 },
      { what: 'longest with the channel cut, ms', seen: quantile(cutMs ?? [], 1), most: 2_000 },
      { what: 'let in later, or another answer', seen: faults, most: 0 },
    ],
    failures: [...bench.faults].map(([what, n]) => `${n} × ${what}`),
    write: false,
  })
} finally {
  agent.destroy()
  await master.close()
  await node.stop()
  await channel.close()
  await world.close()
}
