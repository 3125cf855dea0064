const { NODE_COMPILE_CACHE } = process.env

/** For programs that get an environment of their own: where the processes of this run leave what they compiled. */
export const compileCache: Record<string, string> =
  NODE_COMPILE_CACHE === undefined ? {} : { NODE_COMPILE_CACHE }
