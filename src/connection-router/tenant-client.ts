import pg from 'pg'
import type { PostgresAddress } from '../kernel/postgres-address.ts'
import { clientOptions } from '../kernel/postgres-address.ts'
import type { ReadySocket, ReadySockets } from './ready-sockets.ts'
import { answerScram } from './wire/scram.ts'

/** A session that holds a transaction open and does nothing blocks vacuum and others' locks. */
const idleInTransactionMs = 30_000
/** Below the statement timeout, so that a queue behind one lock shows as what it is. */
const lockTimeoutMs = 10_000
/**
 * A role may change its own defaults; what a connection asks for at its start wins over them. The driver reads and
 * writes text in these forms, and quoting is only safe with standard strings.
 */
const startOptions = [
  'client_encoding=UTF8',
  'DateStyle=ISO',
  'TimeZone=UTC',
  'standard_conforming_strings=on',
]

/** What the driver (pg 8) keeps of a login while it lasts, and the methods by which it does its part. */
type LoginOfDriver = {
  password: unknown
  saslSession: { message: string; mechanism: string; response: string; serverSignature?: string } | null
  connection: pg.Connection & { sendSCRAMClientFinalMessage(response: string): void }
}
const driver = pg.Client.prototype as unknown as {
  _handleAuthSASLContinue(message: { data: string }): Promise<void>
}

/**
 * The driver's client, which answers the server's challenge itself where that is the plain case, and then says in the same
 * breath what is to follow the login.
 */
export class TenantClient extends pg.Client {
  readonly #sayMore: () => void
  readonly #ready: ReadySocket | undefined
  /** True when the server has answered the login: what comes then is its process for our database. */
  challenged = false

  constructor(config: pg.ClientConfig, sayMore: () => void, ready: ReadySocket | undefined) {
    super(ready === undefined ? config : { ...config, stream: () => ready.socket })
    this.#sayMore = sayMore
    this.#ready = ready
  }

  /** True while nothing has come back on a socket that may be stale. */
  get unheard(): boolean {
    return this.#ready?.mayBeStale === true && this.#ready.socket.bytesRead === 0
  }

  /** True when we have proved that we know the password, and the server has not: the driver lets itself be let in without. */
  get owesProof(): boolean {
    return (this as unknown as LoginOfDriver).saslSession?.message === 'SASLResponse'
  }

  /** The driver's own name for it: under another one nobody would call it, and logins would only be slower. */
  _handleAuthSASLContinue(message: { data: string }): Promise<void> | void {
    this.challenged = true
    const { password, saslSession: session, connection } = this as unknown as LoginOfDriver
    const plain = session?.message === 'SASLInitialResponse' && session.mechanism === 'SCRAM-SHA-256'
    const answer =
      plain && typeof password === 'string'
        ? answerScram(password, session.response, message.data)
        : undefined
    if (session === null || answer === undefined) return driver._handleAuthSASLContinue.call(this, message)
    // With the signature the driver checks the server's last message.
    Object.assign(session, { message: 'SASLResponse', ...answer })
    const { stream } = connection
    // One write: a server that refuses us has then read all of it, and its reason is not lost to a reset.
    stream.cork()
    connection.sendSCRAMClientFinalMessage(answer.response)
    this.#sayMore()
    stream.uncork()
  }
}

export type ClientSettings = Readonly<{
  statementTimeoutMs: number
  /** Where a socket may be ready, and one is prepared for whoever connects next. */
  sockets?: Pick<ReadySockets, 'take' | 'prepare'>
}>

/**
 * The driver's client for one connection to a tenant's database, not connected yet. It calls `sayMore` when it has said its
 * last word of the login: the server reads what is written then as soon as it has let us in. Not always, see `answerScram`.
 */
export const newTenantClient = (
  address: PostgresAddress,
  { statementTimeoutMs, sockets }: ClientSettings,
  sayMore: () => void = () => {},
): TenantClient => {
  const client = new TenantClient(
    {
      ...clientOptions(address),
      application_name: 'freehold',
      keepAlive: true,
      keepAliveInitialDelayMillis: 10_000,
      statement_timeout: statementTimeoutMs,
      idle_in_transaction_session_timeout: idleInTransactionMs,
      lock_timeout: Math.min(lockTimeoutMs, statementTimeoutMs),
      options: startOptions.map((option) => `-c ${option}`).join(' '),
    },
    sayMore,
    sockets?.take(address),
  )
  return client.once('connect', () => sockets?.prepare(address))
}
