/**
 * The promise of the project under faults: a committed change reaches every tab of its owner. The short form runs with
 * `npm test`, the long one (each fault at least three times) with `npm run test:faults`.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { startPostgres } from '../support/postgres.js';
import { startRabbit } from '../support/rabbitmq.js';
import { Cluster, type Plan, type Services } from './cluster.js';
import { judge, type ScreensVerdict } from './judge.js';
import { seeded } from './random.js';
import { report } from './report.js';
import type { Fault } from './scenarios.js';

export const LONG = process.env.LIGHTCONE_FAULTS === 'long';
export const ROUNDS = LONG ? Number(process.env.LIGHTCONE_FAULT_ROUNDS ?? 3) : 1;
const SEED = Number(process.env.LIGHTCONE_FAULTS_SEED ?? Math.floor(Math.random() * 2 ** 31));
export const random = seeded(SEED);
/** A commit is judged once this has passed: what comes later is missing. */
const GIVE_UP_MS = 15_000;
/** Writers hold transactions open for up to so long. */
const LONGEST_TRANSACTION_MS = LONG ? 60_000 : 5_000;
/** What was committed survives a crash of the server, and transactions can be prepared. */
const SERVER_SETTINGS = ['max_prepared_transactions=30', 'synchronous_commit=on'];

let services: Services;

beforeAll(async () => {
  console.log(`faults: LIGHTCONE_FAULTS_SEED=${SEED}`);
  const [postgres, rabbit] = await Promise.all([startPostgres({ settings: SERVER_SETTINGS }), startRabbit()]);
  services = { postgres, rabbit };
}, 120_000);
afterAll(async () => {
  report.print();
  await Promise.all([services?.postgres.stop(), services?.rabbit.stop()]);
});

/** One cluster for a list of faults, one after the other. */
export function under(what: string, plan: Omit<Plan, 'random'>, faults: readonly Fault[]): void {
  describe(what, () => {
    let cluster: Cluster;
    beforeAll(async () => {
      cluster = await Cluster.start(services, {
        ...plan,
        longestTransactionMs: LONGEST_TRANSACTION_MS,
        random,
      });
    }, 60_000);
    afterAll(() => cluster?.close());
    afterEach(({ task }) => {
      if (task.result?.state !== 'fail') return;
      for (const member of cluster.members) {
        console.log(`--- ${member.kind} ${member.process.pid}\n${member.process.stderr.slice(-6_000)}`);
      }
    });

    const rounds = faults.flatMap((fault) =>
      Array.from({ length: fault.isSeries ? 1 : ROUNDS }, (_, i) => ({ fault, round: i + 1 })),
    );
    for (const { fault, round } of rounds) {
      it(
        `${fault.name}, ${round}: nothing is lost, the latest is within ${fault.allowed} ms, and the screens are right`,
        async () => {
          await cluster.settled();
          cluster.startWriters();
          await new Promise((resolve) => setTimeout(resolve, 1_000 + 2_000 * random()));
          const first = cluster.writer.commits.length;
          const begin = performance.now();
          const faultEnds = [(await fault.run(cluster)) ?? performance.now()].flat();
          await new Promise((resolve) => setTimeout(resolve, 2_000));
          await cluster.pauseWriters();
          const ended = performance.now();
          // Changes from before the fault may still have been under way when it came.
          const commits = cluster.writer.commits.filter(({ done }, i) => i >= first || done > begin - 1_000);
          let verdict = judge(commits, cluster.tabs, ...faultEnds);
          const deadline = performance.now() + GIVE_UP_MS;
          while (verdict.missing.length > 0 && performance.now() < deadline) {
            await new Promise((resolve) => setTimeout(resolve, 200));
            verdict = judge(commits, cluster.tabs, ...faultEnds);
          }
          const screens = await judgeScreens(cluster, ended);
          report.add({
            fault: fault.name,
            allowed: fault.allowed,
            commits: commits.length,
            ...verdict,
            ...screens,
          });
          expect(verdict.missing).toEqual([]);
          expect(screens.wrong, 'the screens equal the database').toEqual([]);
          expect(verdict.longestMs, verdict.longest).toBeLessThanOrEqual(fault.allowed);
        },
        180_000 + (fault.isSeries ? ROUNDS * 40_000 : 0),
      );
    }
  });
}

/** After the last commit: how long it takes until every tab shows what the database holds. */
async function judgeScreens(cluster: Cluster, ended: number): Promise<ScreensVerdict> {
  for (;;) {
    const wrong = await cluster.wrongScreens();
    const ms = performance.now() - ended;
    if (wrong.length === 0 || ms > GIVE_UP_MS)
      return { screens: cluster.screens.length, wrong, rightAfterMs: ms };
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
