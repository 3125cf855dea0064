import { createSecretKey, randomUUID } from 'node:crypto'
import jwt from 'jsonwebtoken'

/** Who asks, as a token says it. */
export type Claims = Readonly<{ personId: string; sessionId: string; tenantId: string }>

/** A KeyObject: with a string, jsonwebtoken builds the key again for each token, which takes half its time. */
const key = createSecretKey(Buffer.alloc(32, 7))
const issuer = 'http://localhost:4000'

export const signToken = ({ personId, sessionId, tenantId }: Claims): string =>
  jwt.sign({ sid: sessionId, tid: tenantId }, key, {
    algorithm: 'HS256',
    subject: personId,
    issuer,
    expiresIn: 86_400,
    jwtid: randomUUID(),
  })

/** Throws when the token is not one of ours or has expired. */
export const verifyToken = (token: string): Claims => {
  const { sub, sid, tid } = jwt.verify(token, key, { algorithms: ['HS256'], issuer })
  return { personId: sub, sessionId: sid, tenantId: tid }
}
