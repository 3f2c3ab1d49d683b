/** What `/readyz` (new streams may come) and `/wellz` (an alarm asks) say in each state of a worker. */
import { describe, expect, it } from 'vitest';
import { type StatusOptions, WorkerStatusSource } from '../../src/app/status.js';
import { MICROS_PER_SECOND } from '../../src/lib/time.js';

interface State {
  prepared?: boolean;
  enabled?: boolean;
  attached?: boolean;
  managerReady?: boolean;
  draining?: boolean;
  database?: string;
  bus?: string;
  behind?: string;
  leader?: string | undefined;
  /** Of the last tick. */
  secondsAgo?: number;
}

function source(state: State = {}): WorkerStatusSource {
  const now = 1_000_000 * MICROS_PER_SECOND;
  return new WorkerStatusSource({
    config: {
      sse: { enabled: state.enabled ?? true, attachToGalaxy: state.attached ?? false },
      bus: { kind: 'amqp' },
    },
    clock: { now: () => now, monotonic: () => 0 },
    database: { problem: () => state.database },
    bus: { problem: () => state.bus },
    manager: {
      ready: state.managerReady ?? true,
      draining: state.draining ?? false,
      watermark: now - (state.secondsAgo ?? 1) * MICROS_PER_SECOND,
      estimateNow: () => now,
    },
    prepared: () => state.prepared ?? true,
    candidate: () => ({
      electionProblem: () => undefined,
      leadership: { leading: false },
      monitor: { problem: () => state.behind },
    }),
    leaderName: () => state.leader,
    installation: () => undefined,
  } as unknown as StatusOptions);
}

const said = (state: State) => {
  const it = source(state);
  return { ready: it.readyProblems().length === 0, problems: it.problems().join() };
};

describe('a worker', () => {
  it('is ready and well', () => {
    expect(said({ leader: 'main.1' })).toEqual({ ready: true, problems: '' });
  });

  it.each([
    ['its database is away', { database: 'database x cannot be used' }, /database x/],
    ['its broker is away', { bus: 'broker x: nothing listens' }, /broker x/],
    ['it leads and cannot publish', { behind: 'the broker does not confirm' }, /does not confirm/],
    ['the stream is switched off', { enabled: false }, /the stream answers 403/],
    [
      'nobody leads',
      { secondsAgo: 40, leader: 'main.2' },
      /for 40 s .*the last one came from main\.2.*no process leads/,
    ],
    ['nobody has ever led', { secondsAgo: 40 }, /none has arrived yet/],
    [
      'beside a Galaxy, its monitor is not heard any more',
      { attached: true, secondsAgo: 99, leader: 'sse_monitor.h.1' },
      /last one came from sse_monitor/,
    ],
  ])('takes new streams and is not well while %s', (_, state: State, problem) => {
    expect(said(state)).toEqual({ ready: true, problems: expect.stringMatching(problem) });
  });

  it.each([
    ['its tables are not there yet', { prepared: false }, /starting/],
    ['it has not read the recent changes', { managerReady: false }, /starting/],
    ['it is being stopped', { managerReady: false, draining: true }, /draining/],
  ])('takes no new streams while %s', (_, state: State, problem) => {
    expect(said(state)).toEqual({ ready: false, problems: expect.stringMatching(problem) });
  });

  it('beside a Galaxy whose own monitor leads hears no tick, which is no fault', () => {
    expect(said({ attached: true, secondsAgo: 60 })).toEqual({ ready: true, problems: '' });
  });
});
