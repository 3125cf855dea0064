import { sql } from 'kysely'
import { CachedLookup } from '../kernel/cached-lookup.ts'
import { type Clock, systemClock } from '../kernel/clock.ts'
import { compiledOnce, type Master } from '../master/master.ts'
import { type Grant, grantQuery, toGrant } from './holdings.ts'

/** A session whose tokens are to be believed right now. */
export type LiveSession = Readonly<{
  sessionId: string
  personId: string
  platformAdmin: boolean
  /** A system user's, which may do less with its own account than a person. */
  system?: boolean
  /** Of a session whose tokens live in cookies: the hash of its CSRF token. */
  csrfHash?: Uint8Array | null
  expiresAt: Date
}>

const findSession = (master: Master) => {
  const rowsOf = compiledOnce(master, (sessionId: string) =>
    master.db
      .selectFrom('sessions')
      .innerJoin('people', 'people.id', 'sessions.person_id')
      .select([
        'sessions.id',
        'sessions.person_id',
        'sessions.expires_at',
        'sessions.csrf_hash',
        'people.platform_admin',
        'people.kind',
      ])
      .where('sessions.id', '=', sessionId)
      .where('sessions.ended_at', 'is', null)
      .where('sessions.expires_at', '>', sql<Date>`now()`)
      .where('sessions.idle_expires_at', '>', sql<Date>`now()`)
      .where('people.disabled_at', 'is', null),
  )
  return async (sessionId: string): Promise<LiveSession | undefined> => {
    const [row] = await rowsOf(sessionId)
    return (
      row && {
        sessionId: row.id,
        personId: row.person_id,
        platformAdmin: row.platform_admin,
        system: row.kind === 'system',
        csrfHash: row.csrf_hash,
        expiresAt: row.expires_at,
      }
    )
  }
}

const findGrant = (master: Master) => {
  const rowsOf = compiledOnce(master, (tenantId: string, personId: string) =>
    grantQuery(master.db, tenantId, personId),
  )
  return async (tenantId: string, personId: string): Promise<Grant | undefined> =>
    toGrant(tenantId, await rowsOf(tenantId, personId))
}

/** About 300 bytes an entry: the working set of a busy node, not of all people. */
const remembered = 50_000
const ttlMs = 60_000
const missingTtlMs = 2_000
const missingMax = 10_000

/**
 * Who is signed in and what they may do, remembered so that a request asks the master nothing. A change in the master
 * reaches `forget` on every node; while that channel is silent (`isFresh` false) every answer is read anew.
 */
export class Grants {
  readonly #sessions: CachedLookup<LiveSession>
  readonly #grants: CachedLookup<Grant>
  readonly #clock: Clock

  constructor(master: Master, isFresh: () => boolean, clock: Clock = systemClock) {
    this.#clock = clock
    const limits = { max: remembered, ttlMs, missingTtlMs, missingMax, isFresh }
    this.#sessions = new CachedLookup({ ...limits, find: findSession(master) })
    const find = findGrant(master)
    this.#grants = new CachedLookup({
      ...limits,
      find: (key) => {
        const [tenantId = '', personId = ''] = key.split(':')
        return find(tenantId, personId)
      },
    })
  }

  /** What `session` would answer, when it is remembered; without it nothing is known. */
  peekSession(sessionId: string): LiveSession | undefined {
    return this.#sessions.peek(sessionId)
  }

  /** What `grant` would answer, when it is remembered; without it nothing is known. */
  peekGrant(tenantId: string, personId: string): Grant | undefined {
    return this.#unexpired(this.#grants.peek(`${tenantId}:${personId}`))
  }

  /** The session when its tokens are to be believed, else undefined. */
  session(sessionId: string): Promise<LiveSession | undefined> {
    return this.#sessions.get(sessionId)
  }

  /**
   * What the person holds in the tenant; undefined when they are no active member, nor a platform admin whose time in it is
   * not over.
   */
  async grant(tenantId: string, personId: string): Promise<Grant | undefined> {
    return this.#unexpired(await this.#grants.get(`${tenantId}:${personId}`))
  }

  /** However long it is remembered. */
  #unexpired(grant: Grant | undefined): Grant | undefined {
    return grant?.expiresAt !== undefined && grant.expiresAt <= this.#clock.now() ? undefined : grant
  }

  /** Takes one change notification of the master (`session:<id>`, `membership:<tenant>:<person>`, `access:<tenant>`, `plan:<key>` …). */
  forget(change: string): void {
    const [kind, id = '', second = ''] = change.split(':')
    if (kind === 'session') this.#sessions.invalidate(id)
    else if (kind === 'person') {
      this.#sessions.invalidateWhere((_, session) => session?.personId === id)
      // What a platform admin entered goes with their being one.
      this.#grants.invalidateWhere((key) => key.endsWith(id))
    } else if (kind === 'membership') this.#grants.invalidate(`${id}:${second}`)
    else if (kind === 'tenant') this.#grants.invalidateWhere((key) => key.startsWith(id))
    else if (kind === 'plan') this.#grants.invalidateWhere((_, grant) => grant?.plan.key === id)
    else if (change === 'access') this.#grants.invalidateAll()
    else if (kind === 'access') this.#grants.invalidateWhere((key) => key.startsWith(id))
  }

  forgetAll(): void {
    this.#sessions.invalidateAll()
    this.#grants.invalidateAll()
  }
}
