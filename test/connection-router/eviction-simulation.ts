import type { Resident, Residents } from '../../src/connection-router/residents.ts'

/** What a router asks of whoever decides who keeps a place. */
export type Policy = Pick<Residents<Resident>, 'record' | 'touch' | 'delete' | 'victim'>

export type Shape = Readonly<{ places: number; tenants: number; requests: number }>

/** Knows who is popular: gives up the one with the highest number. */
export const knowing = (): Policy => {
  const present = new Map<Resident, number>()
  return {
    record: () => {},
    touch: (resident) => present.set(resident, Number(resident.tenantId.split('-')[1])),
    delete: (resident) => present.delete(resident),
    victim: (mayGo) => {
      let last: [Resident | undefined, number] = [undefined, -1]
      for (const entry of present) if (entry[1] > last[1] && mayGo(entry[0])) last = entry
      return last[0]
    },
  }
}

/**
 * Connects for each request when 64 clients ask again as soon as they are answered. Four connects are under way at a time; when
 * the oldest is done, all that wait for its tenant are served, and it is in use until two more are done.
 */
export const connectsPerRequest = (
  policy: Policy,
  { places, tenants, requests }: Shape,
  draw: () => number,
): number => {
  const all = Array.from({ length: tenants }, (_, i) => ({ tenantId: `tenant-${i}` }))
  const [open, inUse, opening] = [new Set<Resident>(), [] as Resident[], [] as Resident[]]
  const waiting = new Map<Resident, number>()
  let [served, connects] = [0, 0]
  const ask = (): void => {
    for (;;) {
      const resident = all[draw()]
      if (resident === undefined) throw new Error('nobody')
      policy.record(resident.tenantId)
      if (!open.has(resident)) {
        waiting.set(resident, (waiting.get(resident) ?? 0) + 1)
        return
      }
      policy.touch(resident)
      served += 1
    }
  }
  const connect = (): void => {
    for (const resident of waiting.keys()) {
      if (opening.length === 4) return
      if (opening.includes(resident)) continue
      if (open.size + opening.length === places) {
        const victim = policy.victim((other) => open.has(other) && !inUse.includes(other))
        if (victim === undefined) throw new Error('nobody goes')
        policy.delete(victim)
        open.delete(victim)
      }
      opening.push(resident)
      connects += 1
    }
  }
  for (let client = 0; client < 64; client++) ask()
  for (let from = 0; served < requests; ) {
    connect()
    const done = opening.shift()
    if (done === undefined) throw new Error('nobody waits')
    open.add(done)
    policy.touch(done)
    if (inUse.push(done) > 2) inUse.shift()
    const clients = waiting.get(done) ?? 0
    waiting.delete(done)
    served += clients
    for (let client = 0; client < clients; client++) ask()
    // The first half is for getting to know them.
    if (from === 0 && served >= requests / 2) {
      from = served
      connects = 0
    }
  }
  return connects / (requests / 2)
}
