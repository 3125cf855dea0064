import { readdir, readFile } from 'node:fs/promises'
import { join, relative } from 'node:path'

type Frame = { functionName: string; url: string; lineNumber: number }
type Profile = {
  nodes: { id: number; callFrame: Frame }[]
  samples: number[]
  timeDeltas: number[]
}

const root = new URL('../..', import.meta.url).href

const nameOf = ({ functionName, url, lineNumber }: Frame): string => {
  const file = url.startsWith(root) ? relative('/', `/${url.slice(root.length)}`) : url
  return `${functionName || '(anonymous)'} ${file === '' ? '' : `${file}:${lineNumber + 1}`}`.trim()
}

const idle = new Set(['(idle)', '(root)'])

/** Where the time went, by function, without what it called: the `most` largest of every profile in a folder together. */
export const profileSummary = async (folder: string, most = 40): Promise<string> => {
  const times = new Map<string, number>()
  let busy = 0
  for (const file of await readdir(folder)) {
    if (!file.endsWith('.cpuprofile')) continue
    const profile: Profile = JSON.parse(await readFile(join(folder, file), 'utf8'))
    const names = new Map(profile.nodes.map(({ id, callFrame }) => [id, nameOf(callFrame)]))
    for (const [i, id] of profile.samples.entries()) {
      const name = names.get(id) ?? ''
      const time = profile.timeDeltas[i] ?? 0
      if (idle.has(name)) continue
      busy += time
      times.set(name, (times.get(name) ?? 0) + time)
    }
  }
  return [...times]
    .toSorted(([, a], [, b]) => b - a)
    .slice(0, most)
    .map(([name, time]) => `${((100 * time) / busy).toFixed(1).padStart(5)} %  ${name}`)
    .join('\n')
}
