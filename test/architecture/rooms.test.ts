import t from 'tap'
import { readImports, readSources, type SourceFile } from './imports.ts'
import { doors, findFaults, roomOf } from './rooms.ts'

const files = readSources('src', 'scripts')

t.test('every import goes through a door that opens that way', async (t) => {
  t.ok(files.length > 50, 'the sources were found')
  t.strictSame(findFaults(files), [])
})

t.test('every room is used', async (t) => {
  const rooms = new Set(files.map((file) => roomOf(file.path)))
  t.strictSame(
    Object.keys(doors).filter((room) => !rooms.has(room)),
    [],
  )
})

/** A source tree of one planted file beside the real ones. */
const withPlanted = (path: string, text: string): SourceFile[] => [...files, readImports(path, text)]

const planted: [name: string, path: string, text: string][] = [
  ['kernel imports master', 'src/kernel/x.ts', "import { openMaster } from '../master/master.ts'"],
  [
    'a data-plane feature opens the master',
    'src/tenant/x/y.ts',
    "import { openMaster } from '../../master/master.ts'",
  ],
  [
    'a control feature opens the router',
    'src/control/x/y.ts',
    "import { ConnectionRouter } from '../../connection-router/connection-router.ts'",
  ],
  [
    'the shell uses the router itself',
    'src/http/x.ts',
    "import {\n  ConnectionRouter,\n} from '../connection-router/connection-router.ts'",
  ],
  [
    'the router imports the master',
    'src/connection-router/x.ts',
    "import type { Master } from '../master/master.ts'",
  ],
  ['a feature uses pg', 'src/tenant/x/y.ts', "import pg from 'pg'"],
  ['a dynamic import of pg', 'src/control/x/y.ts', "const pg = await import('pg')"],
  ['argon2 outside access', 'src/control/x/y.ts', "import { hash } from 'argon2'"],
  ['somebody imports the service', 'src/control/x/y.ts', "import type { Service } from '../../service.ts'"],
  ['a script imports the application', 'scripts/x.ts', "import { buildApp } from '../src/app.ts'"],
  ['a side-effect import', 'src/kernel/x.ts', "import '../master/master.ts'"],
  ['an unknown room', 'src/utils/x.ts', "import { newId } from '../kernel/ids.ts'"],
  ['a re-export', 'src/kernel/x.ts', "export { openMaster } from '../master/master.ts'"],
]

for (const [name, path, text] of planted) {
  t.test(`found when planted: ${name}`, async (t) => {
    t.ok(findFaults(withPlanted(path, text)).length > 0)
  })
}

t.test('found when planted: a circle of files', async (t) => {
  const circle = [
    readImports('src/kernel/a.ts', "import { b } from './b.ts'"),
    readImports('src/kernel/b.ts', "import { a } from './a.ts'"),
  ]
  t.match(findFaults(circle), [/circle/])
})
