import { AppError } from '../../kernel/errors.ts'

/** What a client says of itself and wants (RFC 6749, 4.4.2). */
export type TokenRequest = { grantType: string; id: string; secret: string; tenant?: string }

const invalid = (detail: string): AppError => new AppError('validation_failed', detail)

/** The parameters of a form; said twice, a parameter is refused (RFC 6749, 3.2). */
export const readForm = (text: string): Record<string, string> => {
  const form: Record<string, string> = {}
  for (const [name, value] of new URLSearchParams(text)) {
    if (Object.hasOwn(form, name)) throw invalid('A parameter is there twice.')
    if (name !== '__proto__') form[name] = value
  }
  return form
}

const decode = (text: string): string => {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '))
  } catch (cause) {
    throw new AppError('validation_failed', 'The Basic credentials are not form-encoded.', { cause })
  }
}

/** Id and secret from `Authorization: Basic` (RFC 6749, 2.3.1); undefined without the header. */
const readBasic = (authorization: string | undefined): { id: string; secret: string } | undefined => {
  if (authorization === undefined) return undefined
  const [, encoded = ''] = /^basic ([A-Za-z0-9+/]+=*)$/i.exec(authorization) ?? []
  const text = Buffer.from(encoded, 'base64').toString()
  const colon = text.indexOf(':')
  if (colon < 1) throw invalid('Send client id and secret as Basic credentials, or in the body.')
  return { id: decode(text.slice(0, colon)), secret: decode(text.slice(colon + 1)) }
}

type Body = { grant_type: string; client_id?: string; client_secret?: string; tenant?: string }

/** Reads who asks from the header or the body, never from both. */
export const readTokenRequest = (body: Body, authorization: string | undefined): TokenRequest => {
  const basic = readBasic(authorization)
  if (
    basic !== undefined &&
    (body.client_secret !== undefined || (body.client_id ?? basic.id) !== basic.id)
  ) {
    throw invalid('Send client id and secret once: as Basic credentials or in the body.')
  }
  const { id = body.client_id, secret = body.client_secret } = basic ?? {}
  if (id === undefined || secret === undefined) throw invalid('Send client_id and client_secret.')
  return {
    grantType: body.grant_type,
    id,
    secret,
    ...(body.tenant === undefined ? {} : { tenant: body.tenant }),
  }
}
