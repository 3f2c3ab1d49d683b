/**
 * Nothing is lost, and every screen is right, whatever happens in whatever order: the real monitor, ticks, watermarks, recent log, catch-up, gap repair
 * and outlets, on a simulated database and broker in simulated time. `npm test` runs 500 scenarios of each kind,
 * `npm run test:faults` 10,000; RESUME_SEED repeats a run.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { seeded } from '../faults/random.js';
import { FAR_YEAR } from '../faults/simulation/database.js';
import { SimulatedTime } from '../faults/simulation/time.js';
import { type Fault, type FaultKind, type Scenario, World } from '../faults/simulation/world.js';

const LONG = process.env.LIGHTCONE_FAULTS === 'long';
const RUNS = Number(process.env.RESUME_RUNS ?? (LONG ? 10_000 : 500));
// The short form repeats known scenarios, so that it fails for a change and not by chance; the long one explores.
const SEED = Number(process.env.RESUME_SEED ?? (LONG ? Math.floor(Math.random() * 2 ** 31) : 12));

const moment = fc.integer({ min: 0, max: 40_000 });
const index = fc.nat(11);

/** Tabs come and go much more often than anything breaks. */
const tabFaults: FaultKind[] = [
  'tab leaves',
  'tab leaves',
  'tab flutters',
  'tab stops reading',
  'tab comes with a hostile id',
  'a user opens and closes streams of 1970',
];
const workerFaults: FaultKind[] = [
  'topology lost',
  'binding lost',
  'queue deleted',
  'database slow',
  'database clock back',
  'cut worker from bus',
  'freeze worker',
  'worker lags',
  'kill worker',
  'drain worker',
];
const leaderFaults: FaultKind[] = [
  'kill leader',
  'freeze leader',
  'hand over',
  'drop LISTEN',
  'database away',
  'cut leader from bus',
  'broker away',
  'broker slow',
  'queues limited by a policy',
  'exchange deleted',
];

const faults = (kinds: readonly FaultKind[], maxLength: number): fc.Arbitrary<Fault[]> =>
  fc.array(
    fc.record({
      kind: fc.constantFrom(...kinds),
      atMs: moment.map((ms) => 3_000 + ms),
      index,
      durationMs: fc.oneof(fc.integer({ min: 0, max: 2_000 }), fc.integer({ min: 0, max: 20_000 })),
      silentMs: fc.integer({ min: 0, max: 5_000 }),
    }),
    { maxLength },
  );

function scenarios(given: {
  busDelayMs: number;
  longestOpenMs: number;
  attached: boolean;
  notifications: number;
  steps?: boolean;
}): fc.Arbitrary<Scenario> {
  const { longestOpenMs, attached, notifications, steps = false } = given;
  // Without ticks nothing tells a worker that messages grew too old in its queue.
  const others = attached
    ? workerFaults.filter((kind) => kind !== 'worker lags')
    : [...workerFaults, ...leaderFaults];
  return fc.record({
    seed: fc.nat(2 ** 31),
    workers: fc.integer({ min: 1, max: 3 }),
    busDelayMs: fc.integer({ min: 1, max: given.busDelayMs }),
    recentWindowSeconds: fc.constantFrom(0, 5, 20, 900),
    queueSize: fc.constantFrom(1, 2, 64),
    attached: fc.constant(attached),
    changes: fc.array(
      fc.record({
        atMs: moment,
        index: fc.nat(3),
        openMs: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: longestOpenMs })),
        ending: attached
          ? fc.constant('commits' as const)
          : fc.constantFrom(
              'commits' as const,
              'commits',
              'in a savepoint',
              'rolls back',
              'prepared',
              'prepared, rolls back',
            ),
        againMs: fc.array(fc.integer({ min: 0, max: 300 }), { maxLength: 3 }),
      }),
      { minLength: 1, maxLength: 12 },
    ),
    notifications: fc.array(
      fc.record({ atMs: moment, index, publishedAfterMs: fc.integer({ min: 0, max: 2_000 }) }),
      { maxLength: notifications },
    ),
    broadcasts: fc.array(
      fc.record({
        atMs: moment,
        publishedAfterMs: fc.integer({ min: 0, max: 2_000 }),
        form: fc.constantFrom('plain' as const, 'never ends' as const, 'unreadable' as const),
      }),
      { maxLength: notifications },
    ),
    poison: fc.array(
      fc.record({
        atMs: moment,
        index,
        time: fc.constantFrom('infinity', '-infinity', FAR_YEAR),
      }),
      { maxLength: 3 },
    ),
    faults: fc
      .tuple(faults(tabFaults, 12), faults(others, 4), steps ? aStep : fc.constant([]))
      .map((all) => all.flat())
      .map((all) => (attached ? withoutUnseenSteps(all) : all)),
  });
}

/** The clock is set back while tabs are away; workers, and a leader perhaps, begin after it, and it passes the ids of before again. */
const aStep: fc.Arbitrary<Fault[]> = fc
  .record({
    atMs: fc.integer({ min: 8_000, max: 25_000 }),
    backMs: fc.integer({ min: 300, max: 20_000 }),
    leader: fc.constantFrom<FaultKind[]>([], ['kill leader'], ['hand over'], ['database away']),
    workers: fc.integer({ min: 1, max: 3 }),
    afterMs: fc.integer({ min: 0, max: 3_000 }),
    tabs: fc.array(
      fc.record({ index, atMs: fc.integer({ min: -4_000, max: 1_000 }), awayMs: fc.nat(40_000) }),
      {
        minLength: 1,
        maxLength: 4,
      },
    ),
  })
  .map(({ atMs, backMs, leader, workers, afterMs, tabs }) => [
    { kind: 'database clock back', atMs, index: 0, durationMs: backMs / 3, silentMs: 0 },
    ...leader.map((kind) => ({ kind, atMs: atMs - 100, index: 0, durationMs: 1_000, silentMs: 0 })),
    ...Array.from({ length: workers }, (_, worker) => ({
      kind: 'kill worker' as const,
      atMs: atMs + 500,
      index: worker,
      durationMs: afterMs,
      silentMs: 0,
    })),
    ...tabs.map((tab) => ({
      kind: 'tab leaves' as const,
      atMs: atMs + tab.atMs,
      index: tab.index,
      durationMs: tab.awayMs,
      silentMs: 0,
    })),
  ]);

/** Without ticks nothing tells a worker that starts that the clock was set back before: docs/reliability.md, "Where it ends". */
function withoutUnseenSteps(all: Fault[]): Fault[] {
  const restarts = all.some(({ kind }) => kind === 'kill worker' || kind === 'drain worker');
  return restarts ? all.filter(({ kind }) => kind !== 'database clock back') : all;
}

async function nothingIsLost(scenario: Scenario): Promise<void> {
  const time = new SimulatedTime(seeded(scenario.seed));
  const restore = time.install();
  try {
    expect(await new World(time, scenario).run()).toEqual([]);
  } finally {
    restore();
  }
}

const LONG_ENOUGH_MS = 30_000 + 150 * RUNS;
const SETTINGS = {
  numRuns: RUNS,
  seed: SEED,
  // The search for a smaller counterexample ends before the test does.
  interruptAfterTimeLimit: 0.8 * LONG_ENOUGH_MS,
  markInterruptAsFailure: true,
  endOnFailure: process.env.RESUME_SHRINK === 'no',
};

describe(`in any order of faults (RESUME_SEED=${SEED})`, () => {
  it(
    'nothing is lost, with transactions open for up to an hour and a bus that is up to 5 s late',
    () =>
      fc.assert(
        fc.asyncProperty(
          scenarios({
            busDelayMs: 2_500,
            longestOpenMs: 3_600_000,
            attached: false,
            notifications: 4,
          }),
          nothingIsLost,
        ),
        SETTINGS,
      ),
    LONG_ENOUGH_MS,
  );

  it(
    'nothing is lost where changes are quick and a bus is up to 5 s late',
    () =>
      fc.assert(
        fc.asyncProperty(
          scenarios({
            busDelayMs: 2_500,
            longestOpenMs: 0,
            attached: false,
            notifications: 0,
          }),
          nothingIsLost,
        ),
        SETTINGS,
      ),
    LONG_ENOUGH_MS,
  );

  it(
    "nothing is lost where the database's clock is set back and workers begin after it",
    () =>
      fc.assert(
        fc.asyncProperty(
          scenarios({
            busDelayMs: 2_500,
            longestOpenMs: 60_000,
            attached: false,
            notifications: 4,
            steps: true,
          }),
          nothingIsLost,
        ),
        SETTINGS,
      ),
    LONG_ENOUGH_MS,
  );

  it(
    'nothing is lost between a worker and its tabs where only the monitor of a Galaxy runs and no tick is heard',
    () =>
      fc.assert(
        fc.asyncProperty(
          scenarios({
            busDelayMs: 2_500,
            longestOpenMs: 0,
            attached: true,
            notifications: 0,
          }),
          nothingIsLost,
        ),
        SETTINGS,
      ),
    LONG_ENOUGH_MS,
  );
});
