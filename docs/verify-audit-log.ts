import { createHash, createPublicKey, verify } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createInterface } from 'node:readline'

// How a customer proves an exported audit log without trusting whoever runs Freehold, with Node alone. Copy it. You need
// the export of everything (GET /api/audit/export), a checkpoint that you have kept yourself (GET /api/audit/checkpoint),
// and the keys, best kept from the first day (GET /.well-known/audit-keys.json):
//
//   node verify-audit-log.ts audit.ndjson checkpoint.json audit-keys.json
//
// It proves that every entry up to the checkpoint is what it was when it was sealed, that none is missing and none was
// put between. Entries without a position are not sealed yet, and nothing is proved about these.

type Json = Record<string, unknown>
type Jwk = { kty: string; crv: string; x: string; kid: string }
export type Checkpoint = { tenantId: string; checkpoint: string; pruned?: string | null }
export type Proof = { sealed: number; unsealed: number; checkpoint: number; installation: string }

/** JSON as RFC 8785 writes it: names in the order of their UTF-16 units, no white space. */
const canonical = (value: unknown): string => {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const members = Object.keys(value).sort()
  return `{${members.map((name) => `${JSON.stringify(name)}:${canonical((value as Json)[name])}`).join(',')}}`
}

const parse = (part = ''): Json => JSON.parse(Buffer.from(part, 'base64url').toString())

/** What was signed; throws when it is not of this kind, about another tenant, or not signed by one of the keys. */
const read = (jws: string, typ: string, tenantId: string, keys: readonly Jwk[]): Json => {
  const [head, body, signature] = jws.split('.')
  const { alg, kid, ...header } = parse(head)
  const key = keys.find((one) => one.kid === kid)
  if (alg !== 'EdDSA' || header.typ !== typ || key === undefined)
    throw new Error(`not a ${typ} of these keys`)
  const { kty, crv, x } = key
  const publicKey = createPublicKey({ format: 'jwk', key: { kty, crv, x } })
  if (!verify(null, Buffer.from(`${head}.${body}`), publicKey, Buffer.from(signature ?? '', 'base64url'))) {
    throw new Error(`the ${typ} has a wrong signature`)
  }
  const payload = parse(body)
  if (payload.tenant !== tenantId) throw new Error(`the ${typ} is about another tenant`)
  return payload
}

/** Throws an error that says what is wrong; else says what is proved. `lines` are those of the export. */
export const verifyAuditLog = async (
  lines: AsyncIterable<string> | Iterable<string>,
  { tenantId, checkpoint, pruned }: Checkpoint,
  { keys }: { keys: readonly Jwk[] },
): Promise<Proof> => {
  const signed = read(checkpoint, 'freehold-audit-checkpoint', tenantId, keys)
  const start = pruned ? read(pruned, 'freehold-audit-pruned', tenantId, keys) : { position: 0, hash: null }
  const end = Number(signed.position)
  let position = Number(start.position)
  let previous = start.hash as string | null
  let unsealed = 0
  if (position === end && previous !== signed.hash) throw new Error('the beginning is not what was signed')
  for await (const line of lines) {
    const parsed = JSON.parse(line) as Json
    // A name that comes twice would be one thing to us and another to other readers.
    if (JSON.stringify(parsed) !== line)
      throw new Error(`after position ${position} is a line that is no export's`)
    const { position: at, hash, ...entry } = parsed
    if (at === null) {
      unsealed += 1
      continue
    }
    if (at !== position + 1) throw new Error(`an entry is missing after position ${position}`)
    position += 1
    const text = canonical({ v: 1, position, previous, entry })
    const computed = createHash('sha256').update(text).digest('hex')
    if (computed !== hash) throw new Error(`entry ${entry.id} at position ${position} is not what was sealed`)
    if (position === end && hash !== signed.hash) throw new Error('the log is not the one that was signed')
    previous = computed
  }
  if (position < end) throw new Error(`the log ends at position ${position}; ${end} was signed`)
  return { sealed: position, unsealed, checkpoint: end, installation: String(signed.installation) }
}

if (import.meta.main) {
  const [log = '', checkpoint = '', keys = ''] = process.argv.slice(2)
  const readJson = async (path: string) => JSON.parse(await readFile(path, 'utf8'))
  const [signed, published] = [await readJson(checkpoint), await readJson(keys)]
  // Read at once: lines that come before anybody listens are lost.
  const lines = createInterface({ input: createReadStream(log), crlfDelay: Number.POSITIVE_INFINITY })
  process.stdout.write(`${JSON.stringify(await verifyAuditLog(lines, signed, published))}\n`)
}
