/** The items of `trust_proxy`: addresses, networks, `loopback` and `unix`. */
import { isIP } from 'node:net';

export const UNIX_PEER = 'unix';

export const isProxy = (text: string): boolean =>
  text === UNIX_PEER || text === 'loopback' || parseSubnet(text) !== undefined;

export function parseSubnet(
  text: string,
): { address: string; bits: number; family: 'ipv4' | 'ipv6' } | undefined {
  const [, address = '', bits] = /^([0-9a-f.:]+)(?:\/(\d{1,3}))?$/i.exec(text) ?? [];
  const version = isIP(address);
  const most = version === 4 ? 32 : 128;
  const length = bits === undefined ? most : Number(bits);
  if (version === 0 || length > most) return undefined;
  return { address, bits: length, family: version === 4 ? 'ipv4' : 'ipv6' };
}
