import type { SourceFile } from './imports.ts'

type Door = { to: readonly string[]; typesOf?: readonly string[] }

/** Which rooms a room may import from; a room may always import from itself. `*` is every room. */
export const doors: Record<string, Door> = {
  kernel: { to: [] },
  migrator: { to: ['kernel'] },
  'embedded-postgres': { to: ['kernel'] },
  master: { to: ['kernel', 'migrator'] },
  'connection-router': { to: ['kernel'] },
  queue: { to: ['kernel'], typesOf: ['master'] },
  access: { to: ['kernel', 'master'] },
  mail: { to: ['kernel'] },
  oidc: { to: ['kernel'] },
  http: { to: ['kernel', 'access'], typesOf: ['connection-router'] },
  'tenant-manager': { to: ['kernel', 'master', 'migrator', 'connection-router', 'queue'] },
  control: {
    to: ['kernel', 'master', 'access', 'http', 'queue', 'tenant-manager'],
    typesOf: ['mail', 'oidc'],
  },
  tenant: { to: ['kernel', 'access', 'http', 'queue'], typesOf: ['connection-router'] },
  scripts: {
    to: ['kernel', 'migrator', 'master', 'access', 'tenant-manager', 'queue', 'embedded-postgres', 'entry'],
  },
  /** main, service, app, worker and what only they use. */
  entry: { to: ['*'] },
}

/** Packages that only some rooms may use. */
export const packageRooms: Record<string, readonly string[]> = {
  pg: ['master', 'connection-router', 'tenant-manager'],
  'pg-pool': ['master'],
  umzug: ['migrator'],
  argon2: ['access'],
  ioredis: ['access'],
  nodemailer: ['mail'],
  'openid-client': ['oidc'],
  'graphile-worker': ['queue', 'entry'],
  fastify: ['http', 'control', 'tenant'],
  'prom-client': ['http'],
  commander: ['scripts'],
}

/** The room of a path from the root. */
export const roomOf = (path: string): string => {
  const [top = '', second = ''] = path.split('/')
  if (top === 'scripts') return 'scripts'
  if (top === 'src') return second.endsWith('.ts') ? 'entry' : second
  return top
}

/** Entry files that scripts may share; everything else in the entry opens every door and is imported by nobody. */
const sharedEntries = new Set(['src/version.ts', 'src/open-master.ts'])

const wrongDoors = (file: SourceFile): string[] => {
  const from = roomOf(file.path)
  const door = doors[from]
  if (door === undefined) return [`${file.path}: the room ${from} has no doors; add it to rooms.ts`]
  return file.files.flatMap(({ path, typeOnly }) => {
    const to = roomOf(path)
    if (to === from || path === 'package.json') return []
    if (to === 'entry' && !sharedEntries.has(path))
      return [`${file.path} imports ${path}: nobody imports an entry file`]
    const open = door.to.includes('*') || door.to.includes(to) || (typeOnly && door.typesOf?.includes(to))
    return open ? [] : [`${file.path} imports ${path}: there is no door from ${from} to ${to}`]
  })
}

const wrongPackages = (file: SourceFile): string[] =>
  file.packages.flatMap(({ name, typeOnly }) => {
    const rooms = packageRooms[name]
    if (rooms === undefined || typeOnly || rooms.includes(roomOf(file.path))) return []
    return [`${file.path} imports ${name}, which belongs to ${rooms.join(', ')}`]
  })

/** Circles of files that need each other at run time, each as the path that leads back to its start. */
export const circles = (files: readonly SourceFile[]): string[][] => {
  const edges = new Map(files.map((f) => [f.path, f.files.filter((i) => !i.typeOnly).map((i) => i.path)]))
  const done = new Set<string>()
  const found: string[][] = []
  const visit = (path: string, trail: string[]): void => {
    const at = trail.indexOf(path)
    if (at !== -1) found.push([...trail.slice(at), path])
    if (at !== -1 || done.has(path)) return
    for (const next of edges.get(path) ?? []) visit(next, [...trail, path])
    done.add(path)
  }
  for (const path of edges.keys()) visit(path, [])
  return found
}

/** Everything in these files that breaks the plan of the house, one sentence each. */
export const findFaults = (files: readonly SourceFile[]): string[] => [
  ...files.flatMap(wrongDoors),
  ...files.flatMap(wrongPackages),
  ...circles(files).map((circle) => `a circle of files: ${circle.join(' → ')}`),
]
