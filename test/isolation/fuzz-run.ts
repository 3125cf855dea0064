import { startSession } from '../../src/access/sessions.ts'
import { canariesIn } from './canaries.ts'
import { HttpLine, type Reply, requestText } from './http-line.ts'
import type { FuzzNode } from './nodes.ts'
import { type Member, Tenant } from './tenant.ts'
import type { FuzzWorld } from './world.ts'

/** Something that must not be. */
export type Finding = Readonly<{
  what: string
  where: string
  tenant: number
  evidence: string
  /** How many requests were over. */
  at: number
}>

export type FuzzOptions = Readonly<{
  seed: number
  /** Requests over HTTP and pieces of work with a router, together. What goes wrong comes on top. */
  requests: number
  /** Called now and then. */
  onProgress?: (run: FuzzRun) => void
  onFinding?: (finding: Finding) => void
  /** It ends after so many findings; 5. */
  mostFindings?: number
}>

/** So many tenants only trade databases and are never written. */
const traders = 16

/** The books of one run: what was found, and how often each thing happened. */
export class FuzzRun {
  readonly world: FuzzWorld
  readonly nodes: readonly FuzzNode[]
  readonly tenants: readonly Tenant[]
  readonly findings: Finding[] = []
  /** How often each outcome of each kind of request was seen: `get 200`. */
  readonly tally = new Map<string, number>()
  /** Requests that are over. */
  done = 0
  readonly #until: number
  readonly #mostFindings: number
  readonly #onFinding: ((finding: Finding) => void) | undefined

  constructor(
    world: FuzzWorld,
    nodes: readonly FuzzNode[],
    { requests, onFinding, mostFindings = 5 }: FuzzOptions,
  ) {
    this.world = world
    this.nodes = nodes
    this.#until = requests
    this.#onFinding = onFinding
    this.#mostFindings = mostFindings
    this.tenants = world.tenants.map((facts) => new Tenant(facts, facts.index < traders))
  }

  get over(): boolean {
    return this.done >= this.#until || this.findings.length >= this.#mostFindings
  }

  found(finding: Omit<Finding, 'at'>): void {
    const kept = { ...finding, evidence: finding.evidence.slice(0, 2_000), at: this.done }
    this.findings.push(kept)
    this.#onFinding?.(kept)
  }

  count(what: string, outcome: string | number): void {
    const key = `${what} ${outcome}`
    this.tally.set(key, (this.tally.get(key) ?? 0) + 1)
  }

  /** Looks for other tenants' canaries in what somebody of `tenant` was given. Answers how many of its own there were. */
  inspect(where: string, tenant: Tenant, moment: number, text: string): number {
    const allowed = tenant.allowedSince(moment)
    const canaries = canariesIn(text)
    for (const canary of canaries) {
      if (allowed.has(canary)) continue
      this.found({ what: `the canary of ${canary}`, where, tenant: tenant.facts.index, evidence: text })
    }
    return canaries.size
  }
}

/** One of those who make requests, with chances of their own and with lines to each node that are free just now. */
export type User = Readonly<{ run: FuzzRun; random: () => number; lines: readonly HttpLine[][] }>

export const openUser = (run: FuzzRun, random: () => number): User => ({
  run,
  random,
  lines: run.nodes.map(() => []),
})

/** Sends a request to a node, on a line where nothing else is under way. */
const send = async (
  { run, lines }: User,
  node: number,
  request: string,
  hangUpMs?: number,
): Promise<Reply | undefined> => {
  const { port } = run.nodes[node] ?? { port: 0 }
  const line = lines[node]?.pop() ?? new HttpLine(port)
  try {
    return await line.ask(request, hangUpMs)
  } finally {
    lines[node]?.push(line)
  }
}

/** The number of some node. */
export const anyNode = ({ run, random }: User): number => Math.floor(random() * run.nodes.length)

export const pick = <T>(random: () => number, from: readonly T[]): T => {
  const one = from[Math.floor(random() * from.length)]
  if (one === undefined) throw new RangeError('nothing to pick from')
  return one
}

/** A request and what is right for an answer. 503 always is: the budget is far too small. */
export type Question = Readonly<{
  name: string
  method: 'GET' | 'POST' | 'PATCH' | 'DELETE'
  path: string
  body?: unknown
  statuses: readonly number[]
  /** A good answer holds the tenant's canary. */
  carries: boolean
  /** What is wrong with a good answer, if anything. */
  check?: (body: Record<string, unknown>) => string | undefined
}>

const codes503 = new Set(['overloaded', 'database_unavailable'])

const codeOf = (body: string): string => {
  const { code } = JSON.parse(body) as { code?: unknown }
  return String(code)
}

/** What is wrong with this answer, apart from canaries. */
const faultOf = (question: Question, { status, body }: Reply, canaries: number): string | undefined => {
  const { statuses, carries, check } = question
  if (status === 503) return codes503.has(codeOf(body)) ? undefined : 'another 503'
  if (!statuses.includes(status)) return `status ${status}`
  if (status >= 300 || status === 204) return undefined
  if (carries && canaries === 0) return 'no canary'
  return check?.(JSON.parse(body))
}

const nowhere = { address: null, userAgent: null }

const signIn = async (user: User, member: Member, tenantId: string): Promise<string> => {
  const { service } = pick(user.random, user.run.nodes)
  const { sessionId, refreshToken } = await service.master.db
    .transaction()
    .execute((trx) =>
      startSession(trx, service.box, { id: member.personId, tenantId, proofs: ['pwd'], ...nowhere }),
    )
  member.sessionId = sessionId
  const body = { refreshToken }
  const reply = await send(user, anyNode(user), requestText('POST', '/auth/refresh', undefined, body))
  if (reply?.status !== 200) throw new Error(`nobody can sign in: ${reply?.raw}`)
  return String((JSON.parse(reply.body) as { accessToken: unknown }).accessToken)
}

/** The member's access token; signs them in when they have none. */
export const tokenOf = (user: User, member: Member, tenant: Tenant): Promise<string> => {
  member.token ??= signIn(user, member, tenant.facts.id)
  return member.token
}

/** Asks as this member and judges the answer; undefined when we hung up before it came. */
export const ask = async (
  user: User,
  tenant: Tenant,
  member: Member,
  question: Question,
  { node = anyNode(user), hangUpMs }: { node?: number; hangUpMs?: number | undefined } = {},
): Promise<Reply | undefined> => {
  const { run } = user
  const token = await tokenOf(user, member, tenant)
  const { name, method, path, body } = question
  const { moment } = tenant
  try {
    const reply = await send(user, node, requestText(method, path, token, body), hangUpMs)
    run.count(name, reply?.status ?? 'hung up')
    if (reply === undefined) return undefined
    const canaries = run.inspect(name, tenant, moment, reply.raw)
    const barred =
      reply.status === 403 && member === tenant.admin && codeOf(reply.body) !== 'tenant_suspended'
    const what = barred ? 'an Admin is barred' : faultOf(question, reply, canaries)
    if (what !== undefined) run.found({ what, where: name, tenant: tenant.facts.index, evidence: reply.raw })
    return reply
  } catch (error) {
    run.found({ what: String(error), where: name, tenant: tenant.facts.index, evidence: `${method} ${path}` })
    return undefined
  }
}
