import { globSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('../../', import.meta.url))

/** One source file: its path from the root, and what it imports. */
export type SourceFile = {
  path: string
  /** Paths from the root. */
  files: { path: string; typeOnly: boolean }[]
  packages: { name: string; typeOnly: boolean }[]
}

const importStatement = /(?:^|\n)\s*(import|export)\s+(type\s+)?(?:[^'"`;]*?\sfrom\s+)?['"]([^'"]+)['"]/g
const dynamicImport = /\bimport\(\s*['"]([^'"]+)['"]\s*\)/g

const packageName = (specifier: string): string =>
  specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/')

/** Reads the imports of a TypeScript text. Comments and strings that look like imports are no concern here. */
export const readImports = (path: string, text: string): SourceFile => {
  const file: SourceFile = { path, files: [], packages: [] }
  const found = [
    ...[...text.matchAll(importStatement)].map((m) => ({
      specifier: m[3] ?? '',
      typeOnly: m[2] !== undefined,
    })),
    ...[...text.matchAll(dynamicImport)].map((m) => ({ specifier: m[1] ?? '', typeOnly: false })),
  ]
  for (const { specifier, typeOnly } of found) {
    if (specifier.startsWith('.')) {
      file.files.push({ path: relative(root, resolve(root, dirname(path), specifier)), typeOnly })
    } else if (!specifier.startsWith('node:')) {
      file.packages.push({ name: packageName(specifier), typeOnly })
    }
  }
  return file
}

/** Every TypeScript file below the folders, with its imports. */
export const readSources = (...folders: string[]): SourceFile[] =>
  folders
    .flatMap((folder) => globSync(`${folder}/**/*.ts`, { cwd: root }))
    .sort()
    .map((path) => readImports(path, readFileSync(join(root, path), 'utf8')))
