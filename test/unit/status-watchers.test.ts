import type { ServerResponse } from 'node:http';
import { expect, it, vi } from 'vitest';
import type { Principal } from '../../src/core/events.js';
import type { ClusterSource, HistoryBucket } from '../../src/http/routes/cluster-source.js';
import { StatusWatchers } from '../../src/http/routes/status-watchers.js';

const admin: Principal = {
  userId: 1,
  sessionId: undefined,
  isAdmin: true,
  credential: { kind: 'api_key', key: 'k', userId: 1 },
};

/** @returns after how many seconds the page of an administrator ends, if within three minutes */
async function endsAfter(recheck: () => Promise<Set<Principal>>): Promise<number | undefined> {
  let tick: (bucket: HistoryBucket | undefined) => void = () => {};
  const source = {
    now: () => ({}),
    history: () => ({}),
    onSecond: (it: typeof tick) => {
      tick = it;
      return () => {};
    },
  };
  const response = { on: () => response, writeHead: () => {}, write: () => true, end: vi.fn() };
  const watchers = new StatusWatchers(source as unknown as ClusterSource, { recheck });
  watchers.begin(admin, response as unknown as ServerResponse);
  for (let second = 1; second <= 180; second++) {
    tick(undefined);
    await new Promise(setImmediate);
    if (response.end.mock.calls.length > 0) return second;
  }
  return undefined;
}

it('a page goes on while its reader is an administrator, and ends within half a minute of when not', async () => {
  expect(await endsAfter(async () => new Set([admin]))).toBeUndefined();
  expect(await endsAfter(async () => new Set())).toBeLessThanOrEqual(30);
});

it('a page that nobody can confirm ends within a minute; one moment of a database away ends none', async () => {
  const away = () => Promise.reject(new Error('away'));
  expect(await endsAfter(away)).toBeLessThanOrEqual(60);
  let asked = 0;
  expect(await endsAfter(async () => (asked++ % 2 === 0 ? away() : new Set([admin])))).toBeUndefined();
});
