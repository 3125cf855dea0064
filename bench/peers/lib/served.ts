import { once } from 'node:events'
import type { Server } from 'node:http'
import type { Served } from '../../lib/serve.ts'

/** A plain server of `node:http` in the shape that the benchmark runs. */
export const servedBy = (server: Server, close: () => Promise<unknown>): Served => ({
  app: {
    server,
    listen: async ({ host, port } = {}) => {
      server.listen(port, host)
      await once(server, 'listening')
      return ''
    },
    close: async () => {
      server.close()
      server.closeAllConnections()
    },
  },
  close: async () => {
    await close()
  },
})
