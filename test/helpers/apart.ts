import { type ChildProcess, fork } from 'node:child_process'

/** Program and first arguments that start a Node without the instruments that tap loads into every Node it sees started. */
export const nodeApart = ['/usr/bin/env', '-u', 'NODE_OPTIONS', process.execPath] as const

/** Starts a program of ours that speaks by messages, apart from tap: its instruments cost more than a small program does. */
export const forkApart = (program: URL): ChildProcess => {
  const [execPath, ...execArgv] = nodeApart
  return fork(program, { execPath, execArgv, stdio: 'inherit' })
}
