import type { RouterCounters } from './stats.ts'
import type { ClientSettings } from './tenant-client.ts'
import type { Ticks } from './wire/watch.ts'

export type ConnectionSettings = ClientSettings & Readonly<{ connectTimeoutMs: number }>

/** What a connection tells its owner. `ended` comes exactly once, when the socket is closed, connected or not. */
export type ConnectionEvents = {
  /** It has said all of its login: what follows is the server's work. Not said by a server that asks for no password. */
  loginSaid(): void
  /** It died while nobody used it, or with statements under way. `ended` follows. */
  broken(): void
  ended(): void
  /** A statement was answered, or could not be sent: there is room for another one. */
  settled(): void
  /** It reached another database or role than its address names. */
  mismatch(reached: { database: string; role: string }): void
}

/**
 * Asks the server, over another connection of the same role, whether the session of this process waits for its client's next word;
 * with `andEnd`, ends it if so. Undefined when nobody could say within `timeoutMs` (milliseconds). Never throws.
 */
export type AskAboutSession = (
  question: Readonly<{ processId: number; andEnd: boolean; timeoutMs: number }>,
) => Promise<boolean | undefined>

/** What a connection has around it. */
export type Surroundings = Readonly<{
  tenantId: string
  watch: Ticks
  counters: RouterCounters
  askAboutSession: AskAboutSession
}>
