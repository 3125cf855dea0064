import { writeFile } from 'node:fs/promises'
import { page } from './expectations.ts'
import { rows } from './rows.ts'

await writeFile(new URL('../../../docs/routes.md', import.meta.url), page(rows))
