/** Text as a part of what `ilike` looks for, with nothing special in it. */
export const containing = (text: string): string => `%${text.trim().replace(/[\\%_]/g, '\\$&')}%`
