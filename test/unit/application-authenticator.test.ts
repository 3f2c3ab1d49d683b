import { IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { LightconeError } from '../../src/core/errors.js';
import { LIMITS } from '../../src/core/limits.js';
import {
  ApplicationAuthenticator,
  type Authenticate,
} from '../../src/http/auth/application-authenticator.js';
import type { CallerRequest } from '../../src/http/auth/credentials.js';
import { systemClock } from '../../src/lib/clock.js';
import { createLogger } from '../../src/telemetry/logger.js';

const asking = (authenticate: unknown): ApplicationAuthenticator =>
  new ApplicationAuthenticator(authenticate as Authenticate, {
    logger: createLogger('silent'),
    clock: { ...systemClock, monotonic: () => Date.now() },
  });
const newRequest = (): CallerRequest => {
  const raw = new IncomingMessage(new Socket());
  return { raw, headers: {}, query: {}, socket: raw.socket } as CallerRequest;
};
const never = (): Promise<never> => new Promise(() => {});

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

describe('the function of an application', () => {
  it('is asked once a request, by however many hooks', async () => {
    const authenticate = vi.fn(async () => ({ userId: 7 }));
    const callers = asking(authenticate);
    const request = newRequest();
    const [one, two] = await Promise.all([callers.authenticate(request), callers.authenticate(request)]);
    expect(await callers.authenticate(request)).toBe(one);
    expect([two, authenticate.mock.calls.length]).toEqual([one, 1]);
    await callers.authenticate(newRequest());
    expect(authenticate).toHaveBeenCalledTimes(2);
  });

  it.each([
    ['throws', () => Promise.reject(new Error('away'))],
    ['throws at once', () => JSON.parse('{')],
    ['says a number', () => 7],
    ['says true', () => true],
    ['names no id', () => ({ userId: 'alice' })],
    ['names a wrong id', () => ({ userId: 0 })],
    ['names an id that no row can have', () => ({ userId: 2 ** 31 })],
    ['is unsure who is an administrator', () => ({ userId: 1, isAdmin: 'no' })],
  ])('that %s lets nobody in', async (_, authenticate) => {
    await expect(asking(authenticate).authenticate(newRequest())).rejects.toMatchObject({
      code: 'AUTHENTICATION_UNAVAILABLE',
    });
  });

  it('that refuses says why', async () => {
    const refusal = new LightconeError('CREDENTIALS_INVALID', 'expired');
    await expect(asking(() => Promise.reject(refusal)).authenticate(newRequest())).rejects.toBe(refusal);
  });

  it('that gives no answer is given up after 10 s, holds up no other caller, and only so many wait', async () => {
    const slow = newRequest();
    const callers = asking((raw: IncomingMessage) => (raw === other.raw ? { userId: 1 } : never()));
    const other = newRequest();
    const refused = expect(callers.authenticate(slow)).rejects.toMatchObject({
      code: 'AUTHENTICATION_UNAVAILABLE',
    });
    expect(await callers.authenticate(other)).toMatchObject({ userId: 1 });
    const crowd = Array.from({ length: LIMITS.lookupsWaiting.value - 1 }, () =>
      callers.authenticate(newRequest()).catch(() => {}),
    );
    await expect(callers.authenticate(newRequest())).rejects.toMatchObject({ code: 'RATE_LIMITED' });
    await vi.advanceTimersByTimeAsync(10_000);
    await Promise.all([refused, ...crowd]);
    expect(await callers.authenticate(other)).toMatchObject({ userId: 1 });
  });
});

describe('isValid', () => {
  /** Whom of these the rounds still hold for valid, one round each 25 s. */
  const rounds = async (isValids: (() => unknown)[], count: number): Promise<boolean[][]> => {
    let next: unknown;
    const callers = asking(() => ({ userId: 1, isValid: next }));
    const principals = [];
    for (const isValid of isValids) {
      next = isValid;
      principals.push(await callers.authenticate(newRequest()));
    }
    const results: boolean[][] = [];
    for (let round = 0; round < count; round++) {
      await vi.advanceTimersByTimeAsync(24_500);
      const answer = callers.recheck(principals);
      await vi.advanceTimersByTimeAsync(500);
      const valid = await answer;
      results.push(principals.map((principal) => valid.has(principal)));
    }
    return results;
  };

  it('that says false ends the stream of its caller, and of nobody else', async () => {
    expect(await rounds([() => false, () => true, async () => true], 1)).toEqual([[false, true, true]]);
  });

  it.each([
    ['throws', () => JSON.parse('{')],
    ['rejects', () => Promise.reject(new LightconeError('DATABASE_UNAVAILABLE', 'away'))],
    ['never answers', never],
    ['says nonsense', () => 'yes'],
  ])('that %s holds up nobody else, and ends its own stream within a minute', async (_, isValid) => {
    expect(await rounds([isValid, () => true], 3)).toEqual([
      [true, true],
      [true, true],
      [false, true],
    ]);
  });

  it('that is slow is asked once at a time, and counts in the next round', async () => {
    const slow = vi.fn(() => new Promise((resolve) => setTimeout(() => resolve(false), 30_000)));
    expect(await rounds([slow], 2)).toEqual([[true], [true]]);
    expect(slow).toHaveBeenCalledTimes(1);
    expect(await rounds([slow], 3)).toEqual([[true], [true], [false]]);
  });
});
