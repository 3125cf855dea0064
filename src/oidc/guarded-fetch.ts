import { BlockList, isIP } from 'node:net'
import type { CustomFetch } from 'openid-client'
import { isLoopbackHost, isSafeAddress } from '../kernel/origins.ts'

/** The largest answer we read; discovery documents and key sets are a few kB. */
const maxBytes = 256 * 1024

/** The provider can't be asked right now, so nothing is known about who came. */
export class ProviderUnreachable extends Error {
  override readonly name = 'ProviderUnreachable'
}

const loopback = new BlockList()
loopback.addSubnet('127.0.0.0', 8)

/** Where clouds keep what their machines may do, and addresses that are nobody's. */
const never = new BlockList()
never.addSubnet('169.254.0.0', 16)
never.addSubnet('fe80::', 10, 'ipv6')
never.addSubnet('0.0.0.0', 8)
never.addAddress('::', 'ipv6')
never.addAddress('fd00:ec2::254', 'ipv6')

/** Also for an IPv4 address in the spelling of IPv6. */
const isIn = (list: BlockList, { hostname }: URL): boolean => {
  const host = hostname.replace(/^\[(.*)\]$/, '$1')
  const version = isIP(host)
  return version !== 0 && list.check(host, version === 4 ? 'ipv4' : 'ipv6')
}

const isLocal = (url: URL): boolean => isLoopbackHost(url.hostname.replace(/\.$/, '')) || isIn(loopback, url)

/**
 * Whether an address that a provider names may be asked. A provider on the internet has no business on this machine or
 * with its cloud, whatever its discovery document says.
 */
export const mayAsk = (url: URL, issuer: URL): boolean =>
  isSafeAddress(url) && (isLocal(issuer) || !isLocal(url)) && !isIn(never, url)

const readBounded = async (response: Response): Promise<Buffer> => {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of response.body ?? []) {
    size += chunk.byteLength
    // Leaving the loop cancels the rest.
    if (size > maxBytes) throw new Error(`the answer is larger than ${maxBytes} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

/**
 * Asks a provider: only where it may be asked, following no redirect, reading a bounded answer until the caller's signal
 * ends it. Throws ProviderUnreachable, also when the provider says that it has trouble of its own.
 */
export const guardedFetch =
  (issuer: URL): CustomFetch =>
  async (address, options) => {
    const url = new URL(address)
    if (!mayAsk(url, issuer)) throw new ProviderUnreachable(`${url.host} is no address that it may name`)
    let response: Response
    let body: Buffer
    try {
      response = await fetch(url, { ...(options as RequestInit), redirect: 'manual' })
      body = await readBounded(response)
    } catch (cause) {
      throw new ProviderUnreachable(`${url.host} cannot be asked`, { cause })
    }
    if (response.status >= 500 || response.status === 429) {
      throw new ProviderUnreachable(`${url.host} answered ${response.status}`)
    }
    const { status, headers } = response
    return new Response(body.byteLength === 0 ? null : new Uint8Array(body), { status, headers })
  }
