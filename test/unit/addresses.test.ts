import { describe, expect, it } from 'vitest';
import { isProxy } from '../../src/config/proxies.js';
import { Addresses } from '../../src/http/auth/addresses.js';

const from = (remoteAddress: string | undefined, headers: Record<string, string> = {}) => ({
  headers,
  socket: { remoteAddress },
});

describe('the address of a caller', () => {
  const forged = { 'x-forwarded-for': '203.0.113.9', 'x-real-ip': '203.0.113.9' };

  it('is that of the peer, whatever headers say, where nobody is trusted', () => {
    const addresses = new Addresses();
    expect(addresses.of(from('::ffff:198.51.100.7', forged))).toBe('198.51.100.7');
    expect(addresses.forLimits(from('198.51.100.7', forged))).toEqual({
      network: '198.51.100.7',
      claimed: undefined,
    });
    expect(addresses.of(from(undefined, forged))).toBe('unix');
  });

  it('is what the last trusted proxy says, not what the caller wrote in front of it', () => {
    const addresses = new Addresses(['10.0.0.0/8', 'loopback']);
    const chain = { 'x-forwarded-for': '1.2.3.4, 203.0.113.9:4711, 10.1.2.3' };
    expect(addresses.of(from('127.0.0.1', chain))).toBe('203.0.113.9');
    expect(addresses.of(from('10.9.9.9', { 'x-real-ip': '[2001:db8::1]:80' }))).toBe('2001:db8::1');
    expect(addresses.of(from('198.51.100.7', chain))).toBe('198.51.100.7');
    expect(addresses.of(from('127.0.0.1', { 'x-forwarded-for': 'nonsense, 1.2.3' }))).toBe('127.0.0.1');
    expect(addresses.of(from('127.0.0.1'))).toBe('127.0.0.1');
  });

  it('comes from a unix socket where that is said', () => {
    expect(new Addresses(['unix']).of(from(undefined, forged))).toBe('203.0.113.9');
    expect(new Addresses(['loopback']).of(from(undefined, forged))).toBe('unix');
  });

  it.each([
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:0db8:0001:0002::9', '2001:db8:1:2::/64'],
    ['2001:db8::', '2001:db8:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
  ])('%s counts as %s', (address, network) => {
    expect(new Addresses().forLimits(from(address)).network).toBe(network);
  });

  it('is divided by what a proxy on this machine says that is not trusted', () => {
    const claims = { 'x-forwarded-for': '1.1.1.1, 203.0.113.9' };
    expect(new Addresses().forLimits(from('127.0.0.1', claims))).toEqual({
      network: '127.0.0.1',
      claimed: '203.0.113.9',
    });
    expect(new Addresses(['loopback']).forLimits(from('127.0.0.1', claims))).toEqual({
      network: '203.0.113.9',
      claimed: undefined,
    });
  });
});

it.each([
  ['10.0.0.1', true],
  ['10.0.0.0/8', true],
  ['2001:db8::/32', true],
  ['loopback', true],
  ['unix', true],
  ['10.0.0.0/33', false],
  ['proxy.example.org', false],
  ['*', false],
])('trust_proxy takes %s: %s', (text, accepted) => expect(isProxy(text)).toBe(accepted));
