import { describe, expect, it } from 'vitest';
import { compareCodePoints, isBetter } from '../../src/election/rank.js';

const webapp = (serverName: string, hostname = 'a') => ({ serverName, hostname, appType: 'webapp' });
const monitor = (serverName: string, hostname = 'a') => ({ serverName, hostname, appType: 'sse_monitor' });
type Row = { serverName: string; hostname: string; appType: string | undefined };
const betterThan = (self: Row, rows: Row[]) =>
  rows.filter((row) => isBetter(row, self)).map(({ serverName, hostname }) => `${serverName} ${hostname}`);

describe('the rank in the election', () => {
  it('is by greatest name among web workers, compared as text: main.9 before main.10', () => {
    const rows = [webapp('main.1'), webapp('main.10'), webapp('main.9')];
    expect(betterThan(webapp('main.1'), rows)).toEqual(['main.10 a', 'main.9 a']);
    expect(betterThan(webapp('main.10'), rows)).toEqual(['main.9 a']);
    expect(betterThan(webapp('main.9'), rows)).toEqual([]);
  });

  it('is by least name among standalone monitors, who all come before web workers', () => {
    const rows = [webapp('zzz'), monitor('sse_monitor.b.1'), monitor('sse_monitor.a.2')];
    expect(betterThan(webapp('zzz'), rows)).toEqual(['sse_monitor.b.1 a', 'sse_monitor.a.2 a']);
    expect(betterThan(monitor('sse_monitor.b.1'), rows)).toEqual(['sse_monitor.a.2 a']);
    expect(betterThan(monitor('sse_monitor.a.2'), rows)).toEqual([]);
  });

  it('does not count processes that are neither', () => {
    const handler: Row = { serverName: 'zzz', hostname: 'a', appType: undefined };
    expect(betterThan(webapp('main'), [handler, { ...handler, appType: 'handler' }])).toEqual([]);
  });

  it('tells two hosts with one server name apart, and oneself from both', () => {
    const [a, b] = [webapp('main', 'a'), webapp('main', 'b')];
    expect(betterThan(a, [a, b])).toEqual(['main b']);
    expect(betterThan(b, [a, b])).toEqual([]);
  });

  it('compares by code point, not by UTF-16 unit', () => {
    expect(compareCodePoints('\u{1F600}', '\uFF01')).toBeGreaterThan(0);
    expect(compareCodePoints('main.9', 'main.10')).toBeGreaterThan(0);
    expect(compareCodePoints('main', 'main.1')).toBeLessThan(0);
    expect(compareCodePoints('Main', 'main')).toBeLessThan(0);
    expect(compareCodePoints('same', 'same')).toBe(0);
  });
});
