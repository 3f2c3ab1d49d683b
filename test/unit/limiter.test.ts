import { describe, expect, it } from 'vitest';
import { Limiter } from '../../src/core/limiter.js';

describe('a limiter', () => {
  it('runs so many at a time and no more, in the order in which they came, and gives back what they give', async () => {
    const limiter = new Limiter(2);
    const begun: number[] = [];
    const finish: (() => void)[] = [];
    let running = 0;
    let most = 0;
    const results = Array.from({ length: 6 }, (_, n) =>
      limiter.run(async () => {
        begun.push(n);
        running += 1;
        most = Math.max(most, running);
        await new Promise<void>((resolve) => finish.push(resolve));
        running -= 1;
        return n;
      }),
    );
    for (let n = 0; n < 6; n += 1) {
      while (finish.length <= n) await Promise.resolve();
      expect(begun.length).toBeLessThanOrEqual(n + 2);
      finish[n]!();
    }
    expect(await Promise.all(results)).toEqual([0, 1, 2, 3, 4, 5]);
    expect(begun).toEqual([0, 1, 2, 3, 4, 5]);
    expect(most).toBe(2);
  });

  it('lets nobody in who comes while the places of others are handed on', async () => {
    const limiter = new Limiter(1);
    const finish: (() => void)[] = [];
    let running = 0;
    let most = 0;
    const work = async (): Promise<void> => {
      running += 1;
      most = Math.max(most, running);
      await new Promise<void>((resolve) => finish.push(resolve));
      running -= 1;
    };
    const all = [limiter.run(work), limiter.run(work)];
    finish[0]!();
    await all[0];
    all.push(limiter.run(work), limiter.run(work));
    for (let n = 1; n < 4; n += 1) {
      while (finish.length <= n) await Promise.resolve();
      finish[n]!();
    }
    await Promise.all(all);
    expect(most).toBe(1);
  });

  it('goes on after one that failed', async () => {
    const limiter = new Limiter(1);
    const failing = limiter.run(() => Promise.reject(new Error('no')));
    const next = limiter.run(async () => 'yes');
    await expect(failing).rejects.toThrow('no');
    expect(await next).toBe('yes');
    expect(await limiter.run(async () => 'and on')).toBe('and on');
  });
});
