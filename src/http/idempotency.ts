import type { FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { sha256 } from '../kernel/crypto.ts'
import { AppError } from '../kernel/errors.ts'
import { identityOf } from './guards.ts'

const header = 'idempotency-key'

/** The headers of a route that creates something once for each key. */
export const IdempotencyHeaders = Type.Object({
  [header]: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 255,
      // Also what keeps several headers out: they arrive as one, with a space between.
      pattern: '^[!-~]+$',
      description:
        'Any text of your own. The same key and body within 24 hours get the first answer again, with the header idempotency-replayed, and nothing is created twice.',
    }),
  ),
})

/** So long a key is remembered. */
export const keyHours = 24

/** A request that named a key: what tells it from others, and what it asks for. Both are SHA-256. */
export type KeyedRequest = Readonly<{
  scopeHash: Buffer
  bodyHash: Buffer
  personId: string
  tenantId: string | null
}>

/** What a creating route answers. */
export type CreatedAnswer = Readonly<{ status: number; location?: string; body: unknown }>

/** The same text for the same value, in whatever order its fields came. */
const canonical = (value: unknown): string =>
  JSON.stringify(value, (_key, part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  ) ?? ''

/** SHA-256 of a body, the same in whatever order its fields came. Recursive: not for values of any depth. */
export const hashBody = (body: unknown): Buffer => sha256(canonical(body))

/**
 * The request as one with a key, or undefined when it has none. A key is good for one person, in one tenant (null: outside
 * of tenants), on one route. The route's schema must hold `IdempotencyHeaders`.
 */
export const keyedRequest = (request: FastifyRequest, tenantId: string | null): KeyedRequest | undefined => {
  const key = request.headers[header]
  if (key === undefined) return undefined
  const { personId } = identityOf(request)
  const { method, url } = request.routeOptions
  return {
    scopeHash: sha256(JSON.stringify([personId, tenantId, method, url, key])),
    bodyHash: hashBody(request.body),
    personId,
    tenantId,
  }
}

/** Remembers answers by key, in the database `Db` where the creation itself happens. */
export type KeyStore<Db> = {
  /** Creates without a key. */
  plainly<T>(work: (db: Db) => Promise<T>): Promise<T>
  transaction<T>(work: (trx: Db) => Promise<T>): Promise<T>
  /** What is remembered of this scope and has not expired. */
  find(request: KeyedRequest): Promise<{ bodyHash: Buffer; answer: unknown } | undefined>
  /** Takes the key for this transaction, waiting for others that try, and answers its id; undefined: another one has it. */
  claim(trx: Db, request: KeyedRequest): Promise<string | undefined>
  /** Remembers the answer with this transaction. */
  keep(trx: Db, id: string, answer: unknown): Promise<void>
}

export type Created<Answer> = { answer: Answer; replayed: boolean }

const replay = <Answer>(
  request: KeyedRequest,
  first: { bodyHash: Buffer; answer: unknown },
): Created<Answer> => {
  if (!first.bodyHash.equals(request.bodyHash)) {
    throw new AppError(
      'idempotency_mismatch',
      'This Idempotency-Key belongs to another request; choose a new key for each thing you create.',
    )
  }
  return { answer: first.answer as Answer, replayed: true }
}

/**
 * Creates something, once for each key if the request has one: the creation and the memory of its answer are one
 * transaction, so neither a crash nor a second node can come between. What fails is not remembered. `before` is for what
 * must not run in the transaction; it is left out for what was answered before. Throws `idempotency_mismatch` for a key
 * that came with another body.
 */
export const createOnce = async <Db, Answer extends CreatedAnswer>(
  store: KeyStore<Db>,
  request: KeyedRequest | undefined,
  { before, create }: { before?: () => Promise<void>; create: (db: Db) => Promise<Answer> },
): Promise<Created<Answer>> => {
  const known = request && (await store.find(request))
  if (request !== undefined && known !== undefined) return replay(request, known)
  await before?.()
  if (request === undefined) return { answer: await store.plainly(create), replayed: false }
  const created = await store.transaction(async (trx) => {
    const id = await store.claim(trx, request)
    if (id === undefined) return undefined
    const answer = await create(trx)
    await store.keep(trx, id, answer)
    return { answer, replayed: false }
  })
  if (created !== undefined) return created
  const first = await store.find(request)
  // It was there a moment ago, so it has expired since.
  if (first === undefined)
    throw new AppError('conflict', 'This key has just expired; send the request again.')
  return replay(request, first)
}

/** The headers of an answer. */
export const createdHeaders = ({ answer, replayed }: Created<CreatedAnswer>): Record<string, string> => ({
  ...(answer.location === undefined ? {} : { location: answer.location }),
  ...(replayed ? { 'idempotency-replayed': 'true' } : {}),
})
