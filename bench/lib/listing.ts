import pg from 'pg'
import { newId } from '../../src/kernel/ids.ts'
import { clientOptions } from '../../src/kernel/postgres-address.ts'
import { type Shot, shot } from './cannon.ts'
import type { BenchTenant } from './world.ts'

/** How many members or projects a tenant has, and a list shows. */
export const pageSize = 20

/** A list to ask for, and with which bearer token. */
export type Asked = Readonly<{ path: string; token: string }>

/** What to ask a peer, tenant by tenant, and what it must refuse, with the status it must answer. */
export type PeerAsks = Readonly<{
  asked: readonly Asked[]
  refused: readonly (Asked & Readonly<{ status: number }>)[]
}>

/** The peers' databases: each is made and filled once. */
export type PreparedPeers = Readonly<{ express: PeerAsks; betterAuth: PeerAsks }>

/** Fills each tenant's database up to `pageSize` projects; it has one. */
export const addProjects = async (tenants: readonly BenchTenant[]): Promise<void> => {
  for (const { address } of tenants) {
    const client = new pg.Client(clientOptions(address))
    await client.connect()
    try {
      for (let n = 1; n < pageSize; n += 1) {
        await client.query(
          `insert into projects (id, name, description, created_by)
           select $1, $2, description, created_by from projects order by id limit 1`,
          [newId(), `Bridge ${n}`],
        )
      }
    } finally {
      await client.end()
    }
  }
}

const get = (port: number, { path, token }: Asked): Promise<Response> =>
  fetch(`http://127.0.0.1:${port}${path}`, { headers: { authorization: `Bearer ${token}` } })

const isPage = (items: unknown): boolean =>
  Array.isArray(items) && items.length === pageSize && new Set(items.map(({ id }) => id)).size === pageSize

/**
 * Asks for each list once and looks into it: it must have 20 different items. The shots then expect each answer to be the
 * same, byte by byte. Throws when it is not a list of 20.
 */
export const listShots = async (port: number, asked: readonly Asked[]): Promise<Shot[]> => {
  const shots: Shot[] = []
  for (const one of asked) {
    const response = await get(port, one)
    const body = await response.text()
    const { data, members }: { data?: unknown; members?: unknown } = response.ok ? JSON.parse(body) : {}
    if (!isPage(data ?? members))
      throw new Error(`not a list of ${pageSize}: ${response.status} ${body.slice(0, 200)}`)
    shots.push(shot(one.path, { authorization: `Bearer ${one.token}` }, body))
  }
  return shots
}

/** A peer that lets through what it must refuse does less work than Freehold: it must not be compared with it. */
export const expectRefusals = async (port: number, refused: PeerAsks['refused']): Promise<void> => {
  for (const one of refused) {
    const response = await get(port, one)
    if (response.status !== one.status)
      throw new Error(
        `answered ${response.status} instead of ${one.status}: ${(await response.text()).slice(0, 200)}`,
      )
  }
}
