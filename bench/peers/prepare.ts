import type { PreparedPeers } from '../lib/listing.ts'
import type { Setup } from '../lib/serve.ts'
import { prepareBetterAuth } from './lib/prepare-better-auth.ts'
import { prepareExpress } from './lib/prepare-express.ts'

/** Run by `bench/peers.ts`: makes the peers' databases and says what to ask them. */
process.once('message', (setup: Setup) => {
  const prepare = async (): Promise<PreparedPeers> => ({
    express: await prepareExpress(setup),
    betterAuth: await prepareBetterAuth(setup),
  })
  prepare()
    .then((prepared) => process.send?.(prepared, () => process.exit(0)))
    .catch((error: unknown) => {
      console.error(error)
      process.exit(1)
    })
})
