import { createServer } from 'node:http'
import { toNodeHandler } from 'better-auth/node'
import { serve } from '../../lib/serve.ts'
import { createAuth } from '../lib/better-auth.ts'
import { openPool, peerAddress } from '../lib/databases.ts'
import { servedBy } from '../lib/served.ts'

/** better-auth behind its own handler on plain `node:http`, which leaves out what Express would cost. */
serve(async (setup) => {
  const pool = openPool(peerAddress('betterAuth', setup))
  return servedBy(createServer(toNodeHandler(createAuth(pool))), () => pool.end())
})
