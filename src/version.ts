import packageFile from '../package.json' with { type: 'json' }

/** The release this code belongs to. */
export const version: string = packageFile.version
