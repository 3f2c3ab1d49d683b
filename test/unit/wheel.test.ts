import { PassThrough } from 'node:stream';
import { beforeEach, describe, expect, it } from 'vitest';
import { Tab } from '../../src/connections/tabs/tab.js';
import { TimerWheel } from '../../src/connections/tabs/timer-wheel.js';
import { EventId } from '../../src/events/frame.js';

const KEEPALIVE = 30;
const WRITE_TIMEOUT = 60;
let wheel: TimerWheel;
let kept: { second: number; tab: Tab }[];
let stalled: { second: number; tab: Tab }[];

const tab = (): Tab =>
  new Tab(
    new PassThrough(),
    false,
    { userId: undefined, sessionId: undefined, isAdmin: false, credential: { kind: 'none' } },
    new EventId(0),
    undefined,
  );
const run = (seconds: number): void => {
  for (let i = 0; i < seconds; i += 1) wheel.advance();
};

beforeEach(() => {
  kept = [];
  stalled = [];
  wheel = new TimerWheel(KEEPALIVE, WRITE_TIMEOUT, {
    keepalive: (it) => {
      kept.push({ second: wheel.second, tab: it });
      it.lastWrite = wheel.second;
    },
    stalled: (it) => {
      stalled.push({ second: wheel.second, tab: it });
      it.state = 'closed';
    },
  });
});

describe('a crowd that is due in one second', () => {
  it('is looked at in several turns of the event loop, each tab once, so that no event waits for all of them', async () => {
    const crowd = Array.from({ length: 450 }, tab);
    for (const it of crowd) wheel.add(it);
    run(KEEPALIVE);
    const inOneTurn = kept.length;
    expect(inOneTurn).toBeLessThan(200);
    // The next second does not wait for them either, nor look at any twice.
    run(1);
    expect(kept.length).toBe(inOneTurn);
    while (kept.length < crowd.length) await new Promise((resolve) => setImmediate(resolve));
    expect(new Set(kept.map((it) => it.tab)).size).toBe(crowd.length);
    await new Promise((resolve) => setImmediate(resolve));
    run(KEEPALIVE);
    while (kept.length < 2 * crowd.length) await new Promise((resolve) => setImmediate(resolve));
    expect(kept.length).toBe(2 * crowd.length);
  });

  it('may close while it waits for its turn', async () => {
    const crowd = Array.from({ length: 450 }, tab);
    for (const it of crowd) wheel.add(it);
    run(KEEPALIVE);
    const inOneTurn = kept.length;
    for (const it of crowd) {
      it.state = 'closed';
      wheel.remove(it);
    }
    for (let turn = 0; turn < 10; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    expect(kept.length).toBe(inOneTurn);
  });
});

describe('a silent tab', () => {
  it('gets a keepalive after each whole interval', () => {
    run(7);
    wheel.add(tab());
    run(100);
    expect(kept.map(({ second }) => second)).toEqual([37, 67, 97]);
  });

  it('that was written to is left alone until an interval after that', () => {
    const it = tab();
    wheel.add(it);
    run(20);
    it.lastWrite = wheel.second;
    run(29);
    expect(kept).toEqual([]);
    run(1);
    expect(kept.map(({ second }) => second)).toEqual([50]);
  });

  it('that is being caught up is not written to', () => {
    const it = tab();
    it.state = 'catching_up';
    wheel.add(it);
    run(45);
    expect(kept).toEqual([]);
    it.state = 'live';
    run(30);
    expect(kept).toHaveLength(1);
  });

  it('that is closed is forgotten', () => {
    const it = tab();
    wheel.add(it);
    it.state = 'closed';
    run(100);
    expect(kept).toEqual([]);
  });
});

describe.each(['blocked', 'lagging'] as const)('a tab that is %s', (state) => {
  it('is given up exactly when it took nothing for the write timeout', () => {
    const it = tab();
    wheel.add(it);
    run(25);
    it.lastWrite = wheel.second;
    it.state = state;
    run(WRITE_TIMEOUT - 1);
    expect(stalled).toEqual([]);
    run(1);
    expect(stalled.map(({ second }) => second)).toEqual([25 + WRITE_TIMEOUT]);
    run(100);
    expect(stalled).toHaveLength(1);
    expect(kept).toEqual([]);
  });

  it('and takes bytes again in time is an ordinary one', () => {
    const it = tab();
    wheel.add(it);
    it.state = state;
    run(50);
    it.state = 'live';
    it.lastWrite = wheel.second;
    run(31);
    expect(stalled).toEqual([]);
    expect(kept).toHaveLength(1);
  });
});

describe('a tab that closes', () => {
  it('leaves the wheel at once, and the others in their places', () => {
    const tabs = Array.from({ length: 5 }, tab);
    for (const it of tabs) wheel.add(it);
    run(10);
    for (const it of [tabs[1]!, tabs[4]!, tabs[0]!, tabs[0]!]) wheel.remove(it);
    // Placed anew, into another slot.
    wheel.add(tabs[1]!);
    run(KEEPALIVE);
    expect(kept.map((it) => [it.second, tabs.indexOf(it.tab)])).toEqual([
      [30, 2],
      [30, 3],
      [40, 1],
    ]);
  });

  it('while its own turn runs is not looked for in the next one', () => {
    const [first, second] = [tab(), tab()];
    let looked = 0;
    const own = new TimerWheel(1, WRITE_TIMEOUT, {
      keepalive: () => {
        looked += 1;
        for (const it of [first, second]) {
          it.state = 'closed';
          own.remove(it);
        }
      },
      stalled: () => {},
    });
    own.add(first);
    own.add(second);
    own.advance();
    own.advance();
    own.advance();
    expect(looked).toBe(1);
  });
});
