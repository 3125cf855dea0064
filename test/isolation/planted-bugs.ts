import t from 'tap'
import { startTestPostgres } from '../helpers/postgres.ts'
import { seedOfRun } from '../helpers/random.ts'
import { fuzzPlanted } from './fuzz-apart.ts'
import { type Plant, plants } from './plants.ts'
import { makeWorld, restoreWorld } from './world.ts'

/** Each bug must show within so many requests. */
const requests = 5_000

/** How many of the plants every run tries; the rest take turns. `PLANTS=all` tries all. */
const always = 3

const chosen = (): readonly Plant[] => {
  if (process.env.PLANTS === 'all') return plants
  const others = plants.slice(always)
  const turn = others[seedOfRun() % others.length]
  return [...plants.slice(0, always), ...(turn === undefined ? [] : [turn])]
}

// Each plant starts four nodes of its own.
t.setTimeout(300_000)
const world = await makeWorld(await startTestPostgres(t), 40)

for (const { name } of chosen()) {
  t.test(`it is found out when ${name}`, async (t) => {
    await restoreWorld(world)
    const seed = seedOfRun()
    const began = performance.now()
    const { finding, done } = await fuzzPlanted({ world, plant: name, seed, requests })
    const seconds = ((performance.now() - began) / 1_000).toFixed(1)
    t.comment(
      `SEED=${seed}: ${finding?.what} after ${done} requests, ${seconds} s with the start of the nodes (${finding?.where})`,
    )
    t.ok(finding, 'something was found')
  })
}
