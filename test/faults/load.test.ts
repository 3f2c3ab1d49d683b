/** Many streams: a storm of reconnects, and what open streams cost the database. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../support/databases.js';
import { startPostgres } from '../support/postgres.js';
import { startRabbit } from '../support/rabbitmq.js';
import { Cluster, type Services } from './cluster.js';
import { seeded } from './random.js';
import { StatementCounter } from './statements.js';

const LONG = process.env.LIGHTCONE_FAULTS === 'long';
const STORM = LONG ? 5_000 : 1_000;
const IDLE = 1_000;
/** After so long the leader has compared its last changes with the database, and has done what it does after its start. */
const SETTLED_MS = 33_000;
/** A whole period of what happens every half minute. */
const IDLE_SECONDS = 30;
const TABS_PER_USER = 20;
const random = seeded(Number(process.env.LIGHTCONE_FAULTS_SEED ?? 1));
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const statements = new StatementCounter();
let services: Services;

beforeAll(async () => {
  const [postgres, rabbit] = await Promise.all([
    startPostgres({ settings: StatementCounter.settings, onLog: statements.onLog }),
    startRabbit(),
  ]);
  services = { postgres, rabbit };
}, 120_000);
afterAll(() => Promise.all([services?.postgres.stop(), services?.rabbit.stop()]));

const statementsOf = (cluster: Cluster): number =>
  cluster.members.reduce((sum, { databaseUser }) => sum + statements.of(databaseUser), 0);

describe(`${STORM} tabs of ${STORM / TABS_PER_USER} users on one worker`, () => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await Cluster.start(services, {
      workers: 1,
      monitors: 1,
      users: STORM / TABS_PER_USER,
      tabsPerUser: TABS_PER_USER,
      ownDatabaseUsers: true,
      random,
      // A worker remembers from the first position of an installation on: no tab is to be as old as that.
      onBeforeTabs: async ({ database }) => {
        await eventually(
          async () => {
            const [row] = await database.psql<{ old: boolean }>(
              `SELECT now() AT TIME ZONE 'UTC' > min(moment) + interval '6 s' AS old FROM lightcone_position`,
            );
            return row!.old === true;
          },
          { within: 20_000, what: 'an installation with a past' },
        );
      },
    });
    await cluster.writer.pause();
  }, 120_000);
  afterAll(() => cluster?.close());

  it('are all live again within 15 s of its restart, with at most 100 statements', async () => {
    // So that every tab has an id from a time that is behind it.
    await pause(3_000);
    const [worker] = cluster.workers;
    const readies = cluster.tabs.map(({ client }) => client.events('ready').length);
    statements.reset();
    const killedAt = performance.now();
    await cluster.kill(worker!);
    const restarted = await cluster.startWorker();
    const startedAt = performance.now();
    // The first frame of a catch-up; those that may follow come in the same write.
    const live = ({ client }: (typeof cluster.tabs)[number], i: number): boolean => {
      const { frames } = client;
      return (
        client.events('ready').length > readies[i]! &&
        frames.findLastIndex(({ event }) => event === 'notification_status') >
          frames.findLastIndex(({ event }) => event === 'ready')
      );
    };
    await eventually(() => cluster.tabs.every(live), { within: 30_000, what: 'all tabs live' });
    const seconds = (performance.now() - killedAt) / 1000;
    const asked = statementsOf(cluster);
    const memory = await cluster.counted('galaxy_sse_resume_count', 'source="memory"');
    console.log(
      `storm: ${STORM} tabs live ${seconds.toFixed(1)} s after the kill, ${((performance.now() - startedAt) / 1000).toFixed(1)} s after the worker was back; ${asked} statements, ${statements.of(restarted.databaseUser)} of them the worker's`,
    );
    expect(memory).toBe(STORM);
    expect(seconds).toBeLessThan(15);
    expect(asked).toBeLessThanOrEqual(100);
  }, 120_000);
});

describe(`${IDLE} open streams on two workers`, () => {
  let cluster: Cluster;
  let sessionsBefore: number;
  const sessions = async ({ database }: Pick<Cluster, 'database'>): Promise<number> => {
    const [row] = await database.psql<{ count: number }>(
      `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename <> 'lightcone'`,
    );
    return row!.count;
  };
  beforeAll(async () => {
    cluster = await Cluster.start(services, {
      workers: 2,
      monitors: 1,
      users: IDLE / TABS_PER_USER,
      tabsPerUser: TABS_PER_USER,
      ownDatabaseUsers: true,
      random,
      onBeforeTabs: async (it) => {
        sessionsBefore = await sessions(it);
      },
    });
    await cluster.writer.pause();
  }, 120_000);
  afterAll(() => cluster?.close());

  it('hold no database connection of their own, and cost no more than one statement a second and process', async () => {
    await pause(SETTLED_MS);
    statements.reset();
    const begin = performance.now();
    // A timer may end a fraction of a millisecond early.
    while (performance.now() - begin < 1_000 * IDLE_SECONDS)
      await pause(1_000 * IDLE_SECONDS - (performance.now() - begin));
    const seconds = (performance.now() - begin) / 1000;
    const rates = cluster.members.map(
      ({ kind, databaseUser, leading }) =>
        `${kind}${leading ? ' (leading)' : ''} ${(statements.of(databaseUser) / seconds).toFixed(2)}`,
    );
    const sessionsNow = await sessions(cluster);
    console.log(
      `idle: statements a second: ${rates.join(', ')}; database sessions ${sessionsBefore} before, ${sessionsNow} with ${IDLE} streams`,
    );
    for (const { databaseUser } of cluster.members) {
      // One more: a window that begins just before a statement.
      expect(statements.of(databaseUser)).toBeLessThanOrEqual(seconds + 1);
    }
    expect(sessionsNow).toBeLessThanOrEqual(sessionsBefore);
    // Two minutes do not hold a second try.
  }, 300_000);
});
