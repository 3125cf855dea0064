import { setTimeout as sleep } from 'node:timers/promises'

/** An answer with its body read as JSON (`{}` when there is none). */
export type Answer = { status: number; body: Record<string, unknown> }

/** A person at the HTTP API. */
export type Client = {
  call(method: string, path: string, body?: unknown): Promise<Answer>
  /** The same person with another access token. */
  as(token: string): Client
}

/** Speaks to one address. Each call has a connection of its own: the process behind the address may be another one by then. */
export const clientOf = (address: string, token?: string): Client => ({
  call: async (method, path, body) => {
    const response = await fetch(`${address}${path}`, {
      method,
      headers: {
        connection: 'close',
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    const text = await response.text()
    const json = response.headers.get('content-type')?.includes('json') === true
    return { status: response.status, body: json ? JSON.parse(text) : {} }
  },
  as: (other) => clientOf(address, other),
})

/** Asks until it is ready, and answers that: on a busy machine a part of it may be late for a moment. */
export const askUntilReady = async (address: string): Promise<Answer> => {
  for (;;) {
    const answer = await clientOf(address).call('GET', '/health/ready')
    if (answer.status !== 503) return answer
    await sleep(50)
  }
}

const mustBe = (answer: Answer, status: number): Answer => {
  if (answer.status !== status) {
    throw new Error(`expected ${status}, got ${answer.status}: ${JSON.stringify(answer.body)}`)
  }
  return answer
}

/** Signs in; answers the person at the API. Throws when refused. */
export const signIn = async (address: string, email: string, password: string): Promise<Client> => {
  const { body } = mustBe(await clientOf(address).call('POST', '/auth/login', { email, password }), 200)
  return clientOf(address, String(body.accessToken))
}

export const signUp = async (address: string, email: string, password: string): Promise<Client> => {
  const registration = { email, password, firstName: 'Test' }
  const { body } = mustBe(await clientOf(address).call('POST', '/auth/register', registration), 201)
  return clientOf(address, String(body.accessToken))
}

/** The same person, working in this tenant. */
export const enter = async (person: Client, tenant: string): Promise<Client> => {
  const { body } = mustBe(await person.call('POST', '/auth/switch', { tenant }), 200)
  return person.as(String(body.accessToken))
}

/** Makes a tenant with one project; throws unless all of it is there. */
export const createTenantWithProject = async (person: Client, slug: string): Promise<void> => {
  mustBe(await person.call('POST', '/tenants', { name: slug, slug }), 201)
  mustBe(await (await enter(person, slug)).call('POST', '/api/projects', { name: `of ${slug}` }), 201)
}

/** The rows of an answer that is a list. */
export const rowsOf = ({ body }: Answer): Record<string, unknown>[] =>
  Array.isArray(body.data) ? body.data : []

/** The names of the projects in a tenant. */
export const projectNames = async (person: Client, slug: string): Promise<string[]> => {
  const answer = mustBe(await (await enter(person, slug)).call('GET', '/api/projects'), 200)
  return rowsOf(answer).map((project) => String(project.name))
}
