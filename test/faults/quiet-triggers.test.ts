/**
 * The monitor breaks at each step of going quiet and busy: nothing is lost, although triggers are silent meanwhile and
 * transactions stay open, over several breaks as well. For each twenty breaks: LIGHTCONE_FAULT_ROUNDS=20 LIGHTCONE_FAULTS=long.
 */
import pg from 'pg';
import { clientOptions } from '../../src/database/postgres/options.js';
import { eventually } from '../support/databases.js';
import type { Cluster, Member } from './cluster.js';
import type { Fault } from './scenarios.js';
import { LONG, ROUNDS, under } from './suite.js';

const after = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const upTo = (ms: number): Promise<void> => after(Math.random() * ms);

type Step = 'going busy' | 'busy' | 'going quiet' | 'waiting for silent transactions';
type Break = 'killed' | 'frozen for 12 s' | 'cut off';
const ALLOWED: Record<Break, number> = { killed: 5_000, 'frozen for 12 s': 13_000, 'cut off': 5_000 };

/** Many changes of a history that nobody watches, so that its events hide nothing. */
class Crowd {
  private readonly pool: pg.Pool;
  private over = false;
  private loops: Promise<void>[] = [];

  constructor(private readonly cluster: Cluster) {
    this.pool = new pg.Pool({ ...clientOptions(cluster.database.url, 'crowd'), max: 4 });
    this.pool.on('error', () => {});
  }

  async start(): Promise<void> {
    const { rows } = await this.pool.query("INSERT INTO history (name) VALUES ('of nobody') RETURNING id");
    const update = async () => {
      while (!this.over) {
        await this.pool.query("UPDATE history SET name = 'of the crowd' WHERE id = $1", [rows[0].id]);
      }
    };
    this.loops = [update(), update(), update(), update()];
  }

  async stop(): Promise<void> {
    this.over = true;
    await Promise.all(this.loops);
  }

  async close(): Promise<void> {
    await this.stop();
    await this.pool.end();
  }

  async triggersAre(silent: boolean): Promise<void> {
    await eventually(
      async () => {
        const { rows } = await this.cluster.database
          .psql<{ loud: boolean }>('SELECT pg_try_advisory_xact_lock_shared(1279479365, 2) AS loud')
          .then((found) => ({ rows: found }));
        return rows[0]!.loud !== silent;
      },
      { within: 10_000, what: silent ? 'silent triggers' : 'loud triggers' },
    );
  }
}

async function reach(step: Step, crowd: Crowd): Promise<void> {
  await crowd.start();
  if (step === 'going busy') return upTo(300);
  await crowd.triggersAre(true);
  await upTo(700);
  if (step === 'busy') return;
  await crowd.stop();
  if (step === 'going quiet') return upTo(1_500);
  await crowd.triggersAre(false);
  await upTo(500);
}

async function breakIt(how: Break, cluster: Cluster, leader: Member): Promise<number> {
  const at = performance.now();
  switch (how) {
    case 'killed':
      await cluster.kill(leader);
      await after(4_000);
      await cluster.startMonitor();
      return at;
    case 'frozen for 12 s':
      leader.process.signal('SIGSTOP');
      await after(12_000);
      leader.process.signal('SIGCONT');
      return at;
    case 'cut off':
      await cluster.database.psql(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name LIKE 'lightcone l%'`,
      );
      return at;
  }
}

const fault = (how: Break, step: Step): Fault => ({
  name: `the monitor ${how} while ${step}`,
  allowed: ALLOWED[how],
  isSeries: true,
  run: async (cluster) => {
    const ends: number[] = [];
    for (let round = 0; round < ROUNDS; round += 1) ends.push(await breakAt(step, how, cluster));
    return ends;
  },
});

/** @returns the moment of the break */
async function breakAt(step: Step, how: Break, cluster: Cluster): Promise<number> {
  const leader = await eventually(() => [cluster.leader].find((it) => it?.kind === 'monitor'), {
    within: 15_000,
    what: 'a monitor that leads',
  });
  const crowd = new Crowd(cluster);
  try {
    await reach(step, crowd);
    return await breakIt(how, cluster, leader);
  } finally {
    await crowd.close();
  }
}

const STEPS: Step[] = ['going busy', 'busy', 'going quiet', 'waiting for silent transactions'];
const BREAKS: Break[] = ['killed', 'frozen for 12 s', 'cut off'];
under(
  'quiet triggers',
  { workers: 1, monitors: 2 },
  LONG
    ? BREAKS.flatMap((how) => STEPS.map((step) => fault(how, step)))
    : [
        fault('killed', 'waiting for silent transactions'),
        fault('frozen for 12 s', 'busy'),
        fault('cut off', 'going quiet'),
      ],
);
