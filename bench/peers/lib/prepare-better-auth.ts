import { getMigrations } from 'better-auth/db/migration'
import type { Asked, PeerAsks } from '../../lib/listing.ts'
import { pageSize } from '../../lib/listing.ts'
import type { Setup } from '../../lib/serve.ts'
import { authOptions, createAuth, origin } from './better-auth.ts'
import { createPeerDatabase, openPool, peerAddress } from './databases.ts'

type Auth = ReturnType<typeof createAuth>

/** Signs a person up over HTTP, as a user would, and gives the token that the bearer plugin hands out. */
const signUp = async (auth: Auth, name: string): Promise<string> => {
  const body = JSON.stringify({ name, email: `${name}@example.com`, password: `${name}-and-more` })
  const headers = { 'content-type': 'application/json', origin }
  const response = await auth.handler(
    new Request(`${origin}/api/auth/sign-up/email`, { method: 'POST', headers, body }),
  )
  const token = response.headers.get('set-auth-token')
  if (token === null) throw new Error(`better-auth signed nobody up: ${await response.text()}`)
  return token
}

const makeOrganization = async (auth: Auth, n: number): Promise<Asked> => {
  const token = await signUp(auth, `owner-${n}`)
  const headers = new Headers({ authorization: `Bearer ${token}` })
  const body = { name: `Tenant ${n}`, slug: `tenant-${n}` }
  const { id: organizationId } = await auth.api.createOrganization({ headers, body })
  const { internalAdapter } = await auth.$context
  for (let i = 1; i < pageSize; i += 1) {
    const user = { name: `Member ${i}`, email: `member-${n}-${i}@example.com`, emailVerified: true }
    const { id: userId } = await internalAdapter.createUser(user, { method: 'admin' })
    await auth.api.addMember({ body: { userId, organizationId, role: 'member' } })
  }
  const path = `/api/auth/organization/list-members?organizationId=${organizationId}&limit=${pageSize}`
  return { path, token }
}

/** The database of better-auth, made by its own migrations and filled by its own calls. */
export const prepareBetterAuth = async (setup: Setup): Promise<PeerAsks> => {
  await createPeerDatabase('betterAuth', setup)
  const pool = openPool(peerAddress('betterAuth', setup))
  try {
    const { runMigrations } = await getMigrations(authOptions(pool))
    await runMigrations()
    const auth = createAuth(pool)
    const asked: Asked[] = []
    for (const n of setup.tenants.keys()) asked.push(await makeOrganization(auth, n))
    const path = asked[0]?.path ?? ''
    const signedOut = await signUp(auth, 'signed-out')
    await auth.api.signOut({ headers: new Headers({ authorization: `Bearer ${signedOut}` }) })
    const refused = [
      { path, token: signedOut, status: 401 },
      { path, token: `${asked[0]?.token}x`, status: 401 },
      { path, token: await signUp(auth, 'stranger'), status: 403 },
    ]
    await pool.query('analyze')
    return { asked, refused }
  } finally {
    await pool.end()
  }
}
