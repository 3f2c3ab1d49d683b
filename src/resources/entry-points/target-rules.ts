/**
 * Decides who may set the target of an entry point, and which targets are allowed. The proxy reaches hosts that no
 * visitor reaches, so a target from a visitor would open the network behind it.
 */
import { BlockList, isIP, isIPv4 } from 'node:net';
import { parseSubnet } from '../../config/proxies.js';
import { LightconeError } from '../../core/errors.js';
import type { Principal } from '../../core/events.js';

/** Fields that decide where a request goes and what it contains. */
const TARGET_FIELDS = ['host', 'port', 'protocol', 'requires_path_in_header_named', 'info'] as const;

/** Link-local (metadata services of clouds), unspecified, multicast, broadcast. */
const NEVER_A_TOOL = [
  '0.0.0.0/8',
  '100.100.100.200',
  '169.254.0.0/16',
  '192.0.0.192',
  '224.0.0.0/3',
  '::/128',
  'fd00:ec2::254',
  'fe80::/10',
  'ff00::/8',
];
const METADATA_NAMES = /^(metadata(\.google(\.internal)?)?|instance-data(\.ec2\.internal)?)\.?$/i;

export class TargetRules {
  readonly #refused = listOf(NEVER_A_TOOL);
  readonly #allowed: BlockList;
  readonly #allowedNames: ReadonlySet<string>;

  /** @param allowed names, addresses and networks that are exempt from the rules */
  constructor(allowed: readonly string[] = []) {
    this.#allowed = listOf(allowed.filter((entry) => parseSubnet(entry) !== undefined));
    this.#allowedNames = new Set(allowed.map((entry) => entry.toLowerCase()));
  }

  /** @throws LightconeError ADMIN_REQUIRED, PARAMETER_INVALID */
  check({ isAdmin }: Pick<Principal, 'isAdmin'>, fields: Readonly<Record<string, unknown>>): void {
    const given = TARGET_FIELDS.filter((name) => fields[name] !== undefined && fields[name] !== null);
    if (given.length === 0) return;
    if (!isAdmin) {
      throw new LightconeError(
        'ADMIN_REQUIRED',
        `only an administrator, or the job runner with an administrator's key, may set the target of an entry point (${given.join(', ')})`,
      );
    }
    if (typeof fields.host === 'string') this.#checkHost(fields.host);
  }

  #checkHost(host: string): void {
    const address = addressOf(host);
    const isAllowed =
      this.#allowedNames.has(host.toLowerCase()) ||
      (address !== undefined && contains(this.#allowed, address));
    if (isAllowed) return;
    if (METADATA_NAMES.test(host) || (address !== undefined && contains(this.#refused, address))) {
      throw new LightconeError(
        'PARAMETER_INVALID',
        `host ${host} is not allowed as a target (link-local, metadata, multicast); to allow it, add it to entry_point_hosts`,
      );
    }
  }
}

function listOf(entries: readonly string[]): BlockList {
  const list = new BlockList();
  for (const entry of entries) {
    const subnet = parseSubnet(entry);
    if (subnet) list.addSubnet(subnet.address, subnet.bits, subnet.family);
  }
  return list;
}

const contains = (list: BlockList, address: string): boolean =>
  list.check(address, isIPv4(address) ? 'ipv4' : 'ipv6');

/** The canonical form of an address in any notation (`0xa9fea9fe`, `169.16689662`); undefined for a name. */
function addressOf(host: string): string | undefined {
  const bare = host.replace(/^\[|\]$/g, '').replace(/%.*$/, '');
  const text = isIP(bare) === 6 ? `[${bare}]` : bare;
  if (!URL.canParse(`http://${text}`)) return undefined;
  const { hostname } = new URL(`http://${text}`);
  const address = hostname.replace(/^\[|\]$/g, '');
  if (isIP(address) === 0) return undefined;
  // ::ffff:a9fe:a9fe is an address of IPv4.
  const [, high, low] = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(address) ?? [];
  if (high === undefined || low === undefined) return address;
  const number = Number.parseInt(high, 16) * 65_536 + Number.parseInt(low, 16);
  return [24, 16, 8, 0].map((shift) => (number >>> shift) & 255).join('.');
}
