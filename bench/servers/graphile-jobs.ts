/** Bare graphile-worker in a process of its own: its task writes a row. Says when it is ready; killed by whoever started it. */
import { Logger, run } from 'graphile-worker'
import pg from 'pg'
import Pool from 'pg-pool'
import { clientOptions, type PostgresAddress } from '../../src/kernel/postgres-address.ts'

const quiet = new Logger(() => () => {})

process.once('message', async ({ master, concurrency }: { master: PostgresAddress; concurrency: number }) => {
  const pool = new Pool({ ...clientOptions(master), Client: pg.Client, max: 12 })
  pool.on('error', () => {})
  pool.on('connect', (client) => client.on('error', () => {}))
  await run({
    ...{ pgPool: pool, concurrency, noHandleSignals: true, logger: quiet, pollInterval: 1_000 },
    taskList: {
      count: async (_payload, { job }) => {
        await pool.query('insert into bench_effects (job_id) values ($1)', [job.id])
      },
    },
  })
  process.send?.('ready')
})
process.once('disconnect', () => process.exit(0))
