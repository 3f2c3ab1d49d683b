/**
 * Who leads, whatever breaks: the real election on a simulated lock in simulated time. `npm test` runs a few scenarios of each
 * kind, `npm run test:faults` 10,000; ELECTION_SEED repeats a run.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { seeded } from '../faults/random.js';
import { type ElectionFault, type ElectionScenario, ElectionWorld } from '../faults/simulation/election.js';
import { SimulatedTime } from '../faults/simulation/time.js';

const LONG = process.env.LIGHTCONE_FAULTS === 'long';
const RUNS = Number(process.env.ELECTION_RUNS ?? (LONG ? 10_000 : 40));
const SEED = Number(process.env.ELECTION_SEED ?? (LONG ? Math.floor(Math.random() * 2 ** 31) : 12));

/** One that thawed reads at once that its session was ended. */
const THAW_MS = 1_000;
/** Whose session is gone without a word finds out when it asks: every 4 s, with 2 s for the answer. */
const ASK_MS = 7_000;

const scenarios = (kinds: readonly ElectionFault[], overlapMs: number): fc.Arbitrary<ElectionScenario> =>
  fc.record({
    seed: fc.nat(2 ** 31),
    heartbeatMs: fc.constantFrom(1_000, 5_000, 60_000),
    overlapMs: fc.constant(overlapMs),
    candidates: fc.array(
      fc.constantFrom(
        { name: 'sse_monitor.a', appType: 'sse_monitor' as const },
        { name: 'main.1', appType: 'webapp' as const },
        // Twins: seven services of one large installation had one name.
        { name: 'main.1', appType: 'webapp' as const },
        { name: 'main.2', appType: 'webapp' as const },
      ),
      { minLength: 1, maxLength: 4 },
    ),
    faults: fc.array(
      fc.record({
        kind: fc.constantFrom(...kinds),
        atMs: fc.integer({ min: 0, max: 90_000 }),
        index: fc.nat(3),
        durationMs: fc.oneof(fc.integer({ min: 0, max: 5_000 }), fc.integer({ min: 0, max: 120_000 })),
        stepMs: fc.integer({ min: -120_000, max: 120_000 }),
      }),
      { maxLength: 8 },
    ),
  });

async function somebodyLeads(scenario: ElectionScenario): Promise<void> {
  const time = new SimulatedTime(seeded(scenario.seed));
  const restore = time.install();
  try {
    expect(await new ElectionWorld(time, scenario).run()).toEqual([]);
  } finally {
    restore();
  }
}

const LONG_ENOUGH_MS = 30_000 + 150 * RUNS;
const SETTINGS = {
  numRuns: RUNS,
  seed: SEED,
  interruptAfterTimeLimit: 0.8 * LONG_ENOUGH_MS,
  markInterruptAsFailure: true,
};

describe(`one leads, and one that can (ELECTION_SEED=${SEED})`, () => {
  it(
    'while ways to database and broker break apart, processes freeze and die, names are equal and the clock steps',
    () =>
      fc.assert(
        fc.asyncProperty(
          scenarios(
            [
              'no broker',
              'no database',
              'database silent',
              'no new sessions',
              'freeze',
              'kill',
              'host vanishes',
              'clean stop',
              'database clock steps',
            ],
            THAW_MS,
          ),
          somebodyLeads,
        ),
        SETTINGS,
      ),
    LONG_ENOUGH_MS,
  );

  it(
    'also where another database server takes over, and connections do not hear of it',
    () =>
      fc.assert(
        fc.asyncProperty(
          scenarios(['fail-over', 'fail-over', 'database silent', 'no broker', 'freeze', 'kill'], ASK_MS),
          somebodyLeads,
        ),
        SETTINGS,
      ),
    LONG_ENOUGH_MS,
  );

  it(
    'also where a broker takes everything and confirms nothing',
    () =>
      fc.assert(
        fc.asyncProperty(
          scenarios(
            ['broker confirms nothing', 'broker confirms nothing', 'no broker', 'freeze', 'kill'],
            THAW_MS,
          ),
          somebodyLeads,
        ),
        SETTINGS,
      ),
    LONG_ENOUGH_MS,
  );
});
