import { readFile } from 'node:fs/promises'
import t from 'tap'
import { edited, plants } from './plants.ts'

const root = new URL('../../src/', import.meta.url)

t.test('each bug that the fuzz must find can still be planted', async (t) => {
  for (const plant of plants) {
    for (const file of new Set(plant.edits.map((edit) => edit.file))) {
      const source = await readFile(new URL(file, root), 'utf8')
      t.not(edited(plant, file, source), source, `${plant.name}: ${file}`)
    }
  }
})
