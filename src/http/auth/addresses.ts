/**
 * The address of a caller. `X-Forwarded-For` and `X-Real-IP` count only if `trust_proxy` lists the peer, because any
 * client can write them.
 */
import type { IncomingHttpHeaders } from 'node:http';
import { BlockList, isIP, isIPv4 } from 'node:net';
import { parseSubnet, UNIX_PEER } from '../../config/proxies.js';

/** The part of a request that reveals its origin; Fastify's request has it. */
export interface Arrival {
  headers: IncomingHttpHeaders;
  socket?: { remoteAddress?: string | undefined };
  /** A field of Node's own request, which Fastify's has in `raw`. */
  httpVersion?: string;
  raw?: { httpVersion: string };
}

/** The unit of limits: a caller by its address. */
export interface CallerAddress {
  /** One address of IPv4, a /64 of IPv6, `unix` for a peer of a unix socket. */
  network: string;
  /**
   * The header of an untrusted proxy on this machine. It divides the allowance of its address, so that one noisy caller
   * cannot use it up, and increases no allowance.
   */
  claimed: string | undefined;
}

const LOOPBACK = ['127.0.0.0/8', '::1/128'];
/** A claim becomes a key of a map, so long ones must not fill the memory. */
const LONGEST_CLAIM = 64;

export class Addresses {
  readonly #trusted = new BlockList();
  readonly #trustsUnix: boolean;

  /** @param trusted the items of `trust_proxy`, checked by `isProxy` */
  constructor(trusted: readonly string[] = []) {
    this.#trustsUnix = trusted.includes(UNIX_PEER);
    for (const entry of trusted.flatMap((item) => (item === 'loopback' ? LOOPBACK : [item]))) {
      const subnet = parseSubnet(entry);
      if (subnet) this.#trusted.addSubnet(subnet.address, subnet.bits, subnet.family);
    }
  }

  /** The caller's address, for records. */
  of({ headers, socket }: Arrival): string {
    let address = plain(socket?.remoteAddress);
    if (!this.#isTrusted(address)) return address;
    const hops = listed(headers['x-forwarded-for']);
    if (hops.length === 0) hops.push(...listed(headers['x-real-ip']));
    // The peer wrote the last hop, and the host of each trusted hop wrote the one before it.
    for (const hop of hops.reverse()) {
      const next = plain(hop);
      if (isIP(next) === 0) break;
      address = next;
      if (!this.#isTrusted(address)) break;
    }
    return address;
  }

  forLimits(arrival: Arrival): CallerAddress {
    const address = this.of(arrival);
    const said = arrival.headers['x-forwarded-for'] ?? arrival.headers['x-real-ip'];
    const isLocalProxy = said !== undefined && isLocalPeer(address) && !this.#isTrusted(address);
    return {
      network: networkOf(address),
      claimed: isLocalProxy ? listed(said).at(-1)?.slice(0, LONGEST_CLAIM) : undefined,
    };
  }

  #isTrusted(address: string): boolean {
    if (address === UNIX_PEER) return this.#trustsUnix;
    return this.#trusted.check(address, isIPv4(address) ? 'ipv4' : 'ipv6');
  }
}

/**
 * Whether the caller itself is on this machine, even behind a proxy on it that says so. A foreign name can lead a local
 * browser here (DNS rebinding), so the host name counts, too.
 */
export function isOnThisMachine(arrival: Arrival): boolean {
  const { headers, socket } = arrival;
  const hops = [...listed(headers['x-forwarded-for']), ...listed(headers['x-real-ip'])].map(plain);
  return (
    [plain(socket?.remoteAddress), ...hops].every(isLocalPeer) &&
    headers.forwarded === undefined &&
    !isUnconfiguredProxy(arrival) &&
    isLocalName(headers.host)
  );
}

/** nginx with only `proxy_pass` speaks HTTP/1.0, sends its own address as the host, and hides the caller. */
const isUnconfiguredProxy = ({ httpVersion, raw }: Arrival): boolean =>
  (raw?.httpVersion ?? httpVersion) === '1.0';

/** The same without a proxy: a scraper, or an administrator at the console. */
export const isDirectlyLocal = (arrival: Arrival): boolean =>
  arrival.socket?.remoteAddress !== undefined && !isForwarded(arrival.headers) && isOnThisMachine(arrival);

/** Names without a dot are resolved by this network, not by public name servers. Every browser sends a host name. */
function isLocalName(host: string | undefined): boolean {
  if (host === undefined) return true;
  const name = host.toLowerCase().replace(/:\d+$/, '');
  return !name.includes('.') || /^127\.\d+\.\d+\.\d+$|\.localhost\.?$|^localhost\.$/.test(name);
}

/** The unit of limits at the other end of a connection. */
export const peerOf = ({ remoteAddress }: { remoteAddress?: string | undefined }): string =>
  networkOf(plain(remoteAddress));

/** A connection from this machine itself. */
const isLocalPeer = (address: string): boolean =>
  address === UNIX_PEER || address === '::1' || address.startsWith('127.');

/** Whether the headers admit a proxy between the caller and the peer of the socket. */
const isForwarded = (headers: IncomingHttpHeaders): boolean =>
  ['forwarded', 'x-forwarded-for', 'x-forwarded-host', 'x-real-ip', 'via'].some(
    (name) => headers[name] !== undefined,
  );

const listed = (header: string | string[] | undefined): string[] =>
  [header ?? []]
    .flat()
    .join(',')
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');

/** Without port, brackets and zone; IPv4 addresses without their IPv6 prefix. */
function plain(text: string | undefined): string {
  if (text === undefined) return UNIX_PEER;
  const bare =
    /^\[([^\]]*)\](?::\d+)?$/.exec(text)?.[1] ?? /^(\d+\.\d+\.\d+\.\d+):\d+$/.exec(text)?.[1] ?? text;
  return bare
    .toLowerCase()
    .replace(/%.*$/, '')
    .replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/, '');
}

/** A caller with one address of IPv6 usually has 2^64 of them. */
function networkOf(address: string): string {
  if (isIP(address) !== 6) return address;
  const [head = '', tail] = address.split('::');
  const groups = head === '' ? [] : head.split(':');
  if (tail !== undefined) {
    const end = tail === '' ? 0 : tail.split(':').length + (tail.includes('.') ? 1 : 0);
    while (groups.length + end < 8) groups.push('0');
  }
  return `${groups
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':')}::/64`;
}
