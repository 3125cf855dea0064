import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { loadConfig } from '../../src/kernel/config.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))

/** Every variable that the configuration looks at. */
const variablesRead = (): string[] => {
  const names = new Set<string>()
  const spy = new Proxy<Record<string, string | undefined>>(
    {},
    {
      get: (_, name) => {
        names.add(String(name))
        return undefined
      },
    },
  )
  loadConfig(spy)
  return [...names].sort()
}

const variablesExplained = async (): Promise<{ name: string; value: string }[]> => {
  const text = await readFile(join(root, '.env.example'), 'utf8')
  return [...text.matchAll(/^#([A-Z_]+)=(.*)$/gm)].map(([, name = '', value = '']) => ({ name, value }))
}

t.test('.env.example explains the variables that are read, and no others', async (t) => {
  const explained = (await variablesExplained()).map(({ name }) => name)
  t.strictSame(explained.toSorted(), variablesRead())
})

t.test('what stands in .env.example is the default', async (t) => {
  for (const { name, value } of await variablesExplained()) {
    t.strictSame(loadConfig({ [name]: value }), loadConfig({}), `${name}=${value}`)
  }
})

t.test('copied as it is, .env.example changes nothing', async (t) => {
  const text = await readFile(join(root, '.env.example'), 'utf8')
  t.notMatch(text, /^[^#\n]/m)
})
