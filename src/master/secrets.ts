import type { SecretBox } from '../kernel/crypto.ts'

/**
 * What a sealed column is bound to. A sealed value copied to another row, role or version does not open there.
 */
export const sealedFor = {
  databaseSecret: (row: {
    id: string
    cluster_id: string
    name: string
    credential_version: number
  }): string => `database:${row.cluster_id}:${row.id}:${row.name}:${row.credential_version}`,
  provisioner: (clusterId: string): string => `provisioner:${clusterId}`,
  signingKey: (kid: string): string => `signing-key:${kid}`,
  auditArchive: (partId: string): string => `audit-archive:${partId}`,
  auditKey: (kid: string): string => `audit-key:${kid}`,
  session: (sessionId: string): string => `session:${sessionId}`,
  payload: (payloadId: string): string => `payload:${payloadId}`,
  answer: (keyId: string): string => `idempotent-answer:${keyId}`,
  /** What travels with a browser and comes back: bound to what it is for, so that one can't pass for another. */
  traveller: (kind: 'sign-in' | 'link-ticket' | 'link-code'): string => `traveller:${kind}`,
  keyCheck: (installationId: string): string => `installation:${installationId}`,
} as const

/** How the provisioner logs in on a cluster; host, port and TLS stand beside it in the clear. */
export type ProvisionerLogin = { database: string; user: string; password: string }

export const sealProvisioner = (box: SecretBox, clusterId: string, login: ProvisionerLogin): Buffer =>
  box.seal(JSON.stringify(login), sealedFor.provisioner(clusterId))

export const openProvisioner = (box: SecretBox, clusterId: string, sealed: Uint8Array): ProvisionerLogin =>
  JSON.parse(box.open(sealed, sealedFor.provisioner(clusterId)).toString()) as ProvisionerLogin
