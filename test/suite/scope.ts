/**
 * What a test file of a batch gets when it imports `tap`: the test that stands for the file, where it would else get the
 * root test of its process. Each file loads a copy of this module of its own, while it is the one that runs.
 */
import { running } from './running.ts'

// biome-ignore lint/style/noDefaultExport: it stands for tap, which has one
export default running.scope
