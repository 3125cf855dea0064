import type { JobTypes, KnownJobType } from './job-type.ts'
import { echo } from './types/echo.ts'
import { noop } from './types/noop.ts'
import { usersImport } from './types/users-import.ts'

/** Job types by name. Throws when two have the same. */
export const jobTypesOf = (types: readonly KnownJobType[]): JobTypes => {
  const known = new Map(types.map((type) => [type.name, type]))
  if (known.size !== types.length) throw new Error('two job types have the same name')
  return known
}

/** Every job type there is. A new one is a file in `types/` and a line here. */
export const jobTypes: JobTypes = jobTypesOf([noop, echo, usersImport])
