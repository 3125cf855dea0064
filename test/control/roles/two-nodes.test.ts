import t from 'tap'
import { startNode } from '../../helpers/freehold.ts'
import { startTestPostgres } from '../../helpers/postgres.ts'
import { accessHands } from './hands.ts'

const postgres = await startTestPostgres(t)
const here = await startNode(t, postgres)
const there = await startNode(t, postgres)
const { newPolicy, newRole, setRole } = accessHands(here)

const admin = await here.newTenant()
const member = await here.join(admin, 'Basic')
const policy = await newPolicy(admin.token)
await setRole(member, await newRole(admin.token, [policy]))

const { grants } = there.service

/** Resolves at the moment when the other node has been told of this change. */
const heardThere = (change: string): Promise<void> =>
  new Promise((resolve) => {
    const forget = grants.forget.bind(grants)
    grants.forget = (heard) => {
      forget(heard)
      if (heard !== change) return
      grants.forget = forget
      resolve()
    }
  })

const change = (method: string, url: string) => here.call(method, url, { token: admin.token })
const permission = `/api/policies/${policy}/permissions/tenant-api:project:read`
const read = async () => (await there.call('GET', '/api/projects', { token: member.token })).status

t.test('a change of a role acts on the other node as soon as it has heard of it', async (t) => {
  const rounds = 20
  const waits: number[] = []
  const wrong: string[] = []
  for (let round = 0; round < rounds; round += 1) {
    for (const [method, status] of [
      ['PUT', 200],
      ['DELETE', 403],
    ] as const) {
      const heard = heardThere(`access:${admin.tenantId}`)
      const answer = await change(method, permission)
      const answered = performance.now()
      if (answer.status !== 204) wrong.push(`${method}: ${answer.text}`)
      await heard
      waits.push(performance.now() - answered)
      // Eight at once: none of them may be given what another one had begun to look up before.
      const seen = await Promise.all(Array.from({ length: 8 }, () => read()))
      wrong.push(...seen.filter((one) => one !== status).map((one) => `${method} round ${round}: ${one}`))
    }
  }
  t.strictSame(wrong, [])
  waits.sort((a, b) => a - b)
  const at = (part: number) => waits[Math.floor(waits.length * part)]?.toFixed(1)
  t.comment(
    `${waits.length} changes reached the other node: p50 ${at(0.5)} ms, p99 ${at(0.99)} ms after the answer`,
  )
})
