import { registerHooks } from 'node:module'

/** One change to a source file under `src/`: everywhere in it. */
type Edit = Readonly<{ file: string; from: string; to: string }>

/** A bug as others had it, put into our own source while it is loaded. */
export type Plant = Readonly<{ name: string; edits: readonly Edit[] }>

const router = 'connection-router/'

const keyedBySlug: Plant = {
  name: 'a pool is keyed by its tenant’s slug',
  edits: [
    { file: 'master/placement.ts', from: "'t.status',", to: "'t.status', 't.slug'," },
    { file: 'master/placement.ts', from: 'const { status, id,', to: 'const { slug, status, id,' },
    { file: 'master/placement.ts', from: 'databaseId: id,', to: 'databaseId: id, slug,' },
    {
      file: `${router}directory.ts`,
      from: "[placement.tenantId, placement.databaseId, placement.epoch, placement.credentialVersion].join('/')",
      to: 'placement.slug',
    },
    {
      file: `${router}tenant-pools.ts`,
      from: 'const pool = this.#pools.get(tenantId)',
      to: 'const key = known?.placement.slug ?? tenantId; const pool = this.#pools.get(key)',
    },
    {
      file: `${router}tenant-pools.ts`,
      from: 'this.#pools.set(tenantId, fresh)',
      to: 'this.#pools.set(key, fresh); fresh.key = key',
    },
    {
      file: `${router}tenant-pools.ts`,
      from: 'this.#pools.get(pool.tenantId)',
      to: 'this.#pools.get(pool.key)',
    },
    {
      file: `${router}tenant-pools.ts`,
      from: 'this.#pools.delete(pool.tenantId)',
      to: 'this.#pools.delete(pool.key)',
    },
  ],
}

const previousIdentity: Plant = {
  name: 'a tenant’s previous pool is returned after it got another database',
  edits: [
    {
      file: `${router}tenant-pools.ts`,
      from: 'if (pool?.identity === known.identity) {',
      to: 'if (pool !== undefined) {',
    },
  ],
}

const previousCaller: Plant = {
  name: 'the pool of the previous caller is returned when two look-ups race',
  edits: [
    {
      file: `${router}connection-router.ts`,
      from: 'const pool = this.#pools.current(tenantId, known, holder?.pool)\n      if (pool',
      to: `this.found = this.#pools.current(tenantId, known, holder?.pool)
      await new Promise(setImmediate)
      const pool = this.found
      if (pool`,
    },
  ],
}

/** The last wall behind the two that follow: a connection refuses other tenants' statements. */
const noLastWall: Edit = {
  file: `${router}tenant-connection.ts`,
  from: 'owner.tenantId !== this.#tenantId',
  to: 'false',
}

const sharedWithAnyone: Plant = {
  name: 'a statement goes to the shared connection of another tenant',
  edits: [
    noLastWall,
    {
      file: `${router}sharing.ts`,
      from: 'for (const slot of pool.shared) if',
      to: 'for (const slot of [...pool.shared, ...(this.latest ?? [])]) if',
    },
    {
      file: `${router}sharing.ts`,
      from: 'slot.pool.shared.push(slot)',
      to: 'slot.pool.shared.push(slot); this.latest = [slot]',
    },
  ],
}

const idleOfAnother: Plant = {
  name: 'an idle connection of another tenant is taken',
  edits: [
    noLastWall,
    {
      file: `${router}idle-pools.ts`,
      from: 'const slot = pool.idle.pop()',
      to: 'const slot = pool.idle.pop() ?? [...this.#pools].at(-1)?.idle.pop()',
    },
  ],
}

const offByOne: Plant = {
  name: 'a row goes to the next statement in flight',
  edits: [
    {
      file: `${router}wire/pipeline.ts`,
      from: 'statement.rows.push(',
      to: '(statement.next ?? statement).rows.push(',
    },
  ],
}

const talkativeLog: Plant = {
  name: 'what is written stands in the log',
  edits: [
    {
      file: 'http/server.ts',
      from: 'method: request.method,',
      to: 'method: request.method, body: request.body,',
    },
  ],
}

const talkativeError: Plant = {
  name: 'an error tells its caller what another tenant wrote',
  edits: [
    {
      file: 'http/problems.ts',
      from: 'detail: error.message,',
      to: `detail: error.message + globalThis.lastCause,
  ...(globalThis.lastCause = JSON.stringify(error.cause ?? ''), {}),`,
    },
  ],
}

export const plants: readonly Plant[] = [
  keyedBySlug,
  previousIdentity,
  sharedWithAnyone,
  previousCaller,
  idleOfAnother,
  offByOne,
  talkativeLog,
  talkativeError,
]

const root = new URL('../../src/', import.meta.url).href

/** The source of a file with this bug in it. Throws when the source is not as it was. */
export const edited = ({ name, edits }: Plant, file: string, source: string): string =>
  edits
    .filter((edit) => edit.file === file)
    .reduce((text, { from, to }) => {
      if (!text.includes(from)) throw new Error(`${name}: ${file} does not say any more: ${from}`)
      return text.replaceAll(from, to)
    }, source)

/** From now on these bugs are in the source, as it is loaded. Throws on loading when the source is not as it was. */
export const sow = (plant: Plant): void => {
  registerHooks({
    load: (url, context, nextLoad) => {
      const loaded = nextLoad(url, context)
      const { source } = loaded
      if (!url.startsWith(root) || source === undefined || source === null) return loaded
      const text = typeof source === 'string' ? source : new TextDecoder().decode(source)
      return { ...loaded, source: edited(plant, url.slice(root.length), text) }
    },
  })
}
