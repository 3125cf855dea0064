import type { Test } from 'tap'

/** The file of a batch that is being loaded, and the test that stands for it. */
export const running: { url: string; scope: Test | undefined } = { url: '', scope: undefined }
