import t from 'tap'
import { newId } from '../../src/kernel/ids.ts'
import { type Member, startFreehold } from '../helpers/freehold.ts'

const freehold = await startFreehold(t)
const { call, service } = freehold

type Item = { id: string; name: string; createdAt: string; updatedAt: string }
type PageOf = { data: Item[]; nextCursor: string | null }

const page = async ({ token }: Member, path: string): Promise<PageOf> => {
  const answer = await call('GET', path, { token })
  if (answer.status !== 200) throw new Error(answer.text)
  return answer.body as unknown as PageOf
}

/** Walks through all pages; `between` does something after each. */
const walk = async (
  member: Member,
  path: string,
  between: (data: Item[]) => Promise<unknown> = async () => {},
): Promise<Item[]> => {
  const seen: Item[] = []
  let cursor: string | null = ''
  while (cursor !== null) {
    const next: PageOf = await page(member, `${path}${cursor === '' ? '' : `&cursor=${cursor}`}`)
    seen.push(...next.data)
    cursor = next.nextCursor
    await between(next.data)
  }
  return seen
}

/** Names with everything that could disturb an order or a cursor; some of them twice. */
const names = [
  'b',
  'B',
  'a',
  'Ä',
  'ä',
  'ß',
  '"',
  "O'Neil",
  '\\',
  '%',
  '🦊',
  'x'.repeat(200),
  '漢'.repeat(200),
]

const fill = (admin: Member, table: 'projects' | 'workspaces'): Promise<unknown> =>
  service.router.use(admin.tenantId, (db) => {
    const time = new Date('2026-01-01T00:00:00.123Z')
    const rows = [...names, ...names].map((name, n) => {
      const id = newId()
      // A third of them has the same time.
      const created_at = n % 3 === 0 ? time : new Date(time.getTime() + n)
      return { id, slug: id, name, created_at, updated_at: created_at }
    })
    return db.insertInto(table).values(rows).execute()
  })

for (const table of ['projects', 'workspaces'] as const) {
  t.test(`${table}: pages in every order show each row once, in that order`, async (t) => {
    const admin = await freehold.newTenant()
    await fill(admin, table)
    for (const sort of ['name', 'createdAt', 'updatedAt'] as const) {
      for (const sign of ['', '-']) {
        const path = `/api/${table}?sort=${sign}${sort}`
        const { data: whole } = await page(admin, `${path}&limit=100`)
        t.equal(whole.length, names.length * 2)
        for (const limit of [1, 4, 25, 26]) {
          const seen = await walk(admin, `${path}&limit=${limit}`)
          t.strictSame(
            seen.map(({ id }) => id),
            whole.map(({ id }) => id),
            `${path} by ${limit}`,
          )
        }
        if (sort === 'name') continue
        const times = whole.map((item) => item[sort])
        t.strictSame(times, sign === '' ? times.toSorted() : times.toSorted().reverse())
      }
    }
    const { data: byName } = await page(admin, `/api/${table}?sort=name&limit=100`)
    const letters = byName.map(({ name }) => name).filter((name) => /^[abAB]$/.test(name))
    t.strictSame(
      letters.map((name) => name.toLowerCase()),
      ['a', 'a', 'b', 'b', 'b', 'b'],
      'in any case',
    )
  })

  t.test(`${table}: rows that come, go and change while somebody pages do not disturb it`, async (t) => {
    const admin = await freehold.newTenant()
    await fill(admin, table)
    for (const sort of ['name', '-name', 'createdAt', '-createdAt']) {
      const { data: before } = await page(admin, `/api/${table}?sort=${sort}&limit=100`)
      const removed = new Set<string>()
      const seen = await walk(admin, `/api/${table}?sort=${sort}&limit=3`, async (data) => {
        // Some come before the next page, some on it and some after it; not for ever, as many of them lie ahead.
        if (removed.size < 3) await fill(admin, table)
        // The row behind which the next page begins.
        const last = data.at(-1)?.id ?? ''
        removed.add(last)
        await call('DELETE', `/api/${table}/${last}`, { token: admin.token })
      })
      const ids = seen.map(({ id }) => id)
      t.equal(new Set(ids).size, ids.length, 'none twice')
      t.ok(
        before.every(({ id }) => ids.includes(id)),
        `${sort}: all that were there`,
      )
      await service.router.use(admin.tenantId, (db) => db.deleteFrom(table).execute())
      await fill(admin, table)
    }
  })
}

t.test('a cursor is good for its own list and order only', async (t) => {
  const admin = await freehold.newTenant()
  await fill(admin, 'projects')
  const { nextCursor } = await page(admin, '/api/projects?sort=name&limit=1')
  const made = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const id = newId()
  const bad = [
    ['-name', nextCursor],
    ['createdAt', nextCursor],
    ['createdAt', made(['createdAt', 'yesterday', id])],
    ['createdAt', made(['createdAt', '2026-13-41T00:00:00.000Z', id])],
    ['createdAt', made(['createdAt', '2026-02-30T00:00:00.000Z', id])],
    ['-createdAt', made(['-createdAt', '0000-01-01T00:00:00.000Z', id])],
    ['createdAt', made(['createdAt', '+010000-01-01T00:00:00.000Z', id])],
    ['name', made(['name', 7, id])],
    ['name', made(['name', 'a', 'b'])],
    ['name', made(['name', 'a\u0000', id])],
    ['name', made({ 0: 'name' })],
    ['name', made(null)],
    ['name', 'v1'],
  ]
  for (const [sort, cursor] of bad) {
    const answer = await call('GET', `/api/projects?sort=${sort}&cursor=${cursor}`, { token: admin.token })
    t.match(answer.body, { status: 400, code: 'validation_failed' }, `${sort} ${cursor}`)
  }
})

t.test('filters find what they say, and nothing is a pattern', async (t) => {
  const admin = await freehold.newTenant()
  const writer = await freehold.join(admin, 'Writer')
  const create = async ({ token }: Member, path: string, body: object): Promise<string> =>
    String((await call('POST', path, { token, body })).body.id)
  const place = await create(admin, '/api/workspaces', { name: 'Place' })
  await create(admin, '/api/projects', { name: 'Red bridge', workspaceId: place })
  await create(admin, '/api/projects', { name: '100% Steel_work', slug: 'steel' })
  await create(writer, '/api/projects', { name: 'Blue BRIDGE' })
  const found = async (query: string) =>
    (await page(admin, `/api/projects?sort=name&${query}`)).data.map(({ name }) => name)
  t.strictSame(await found('q=bridge'), ['Blue BRIDGE', 'Red bridge'])
  t.strictSame(await found(`q=${encodeURIComponent('%')}`), ['100% Steel_work'])
  t.strictSame(await found('q=l_w'), ['100% Steel_work'])
  t.strictSame(await found('q=stee'), ['100% Steel_work'])
  t.strictSame(await found('slug=steel'), ['100% Steel_work'])
  t.strictSame(await found('slug=stee'), [])
  t.strictSame(await found(`createdBy=${writer.personId}`), ['Blue BRIDGE'])
  t.strictSame(await found(`workspaceId=${place}`), ['Red bridge'])
  t.strictSame(await found('workspaceId=none'), ['100% Steel_work', 'Blue BRIDGE'])
  t.strictSame(await found(`workspaceId=${place}&q=blue`), [])
  const bad = await call('GET', '/api/projects?workspaceId=some', { token: admin.token })
  t.match(bad.body, { status: 400, code: 'validation_failed' })
})
