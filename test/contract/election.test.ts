import { beforeEach, describe, expect, it } from 'vitest';
import { SqlWorkerProcesses } from '../../src/database/worker-processes.js';
import { Leadership, lockLabel, silenceMs } from '../../src/election/leadership.js';
import type { AppType } from '../../src/election/rank.js';
import { systemClock } from '../../src/lib/clock.js';
import { formatSql } from '../../src/lib/time.js';
import { noMetrics } from '../../src/telemetry/metrics.js';
import {
  type AnyDatabase,
  type DatabaseFixture,
  eventually,
  FIXTURES,
  openMigrated,
  postgresFixture,
  silent,
} from '../support/databases.js';

/** One process as the election sees it: its own connections, its own row, its own lock. */
class Candidate {
  readonly events: string[] = [];
  readonly leadership: Leadership;
  gainFails = false;
  /** Whether what it publishes is confirmed, and why it could not publish at all. */
  confirms = true;
  hindrance: string | undefined;
  private confirmed = 0;

  constructor(
    readonly db: AnyDatabase,
    readonly name: string,
    appType: AppType,
    options: {
      heartbeatMs?: number;
      standbyMs?: number;
      announce?: () => Promise<void>;
      onGain?: () => void;
      onLose?: () => void;
    } = {},
  ) {
    const self = { serverName: name, hostname: 'host', pid: process.pid, appType };
    const heartbeatMs = options.heartbeatMs ?? 400;
    this.leadership = new Leadership({
      self,
      workerProcesses: new SqlWorkerProcesses(db),
      lock: db.createLeaderLock('monitor', lockLabel(self), silenceMs(heartbeatMs)),
      heartbeatMs,
      standbyMs: options.standbyMs ?? 200,
      role: {
        gain: async () => {
          if (this.gainFails) throw new Error('cannot begin');
          this.events.push('gain');
          options.onGain?.();
        },
        lose: async (reason) => {
          this.events.push(`lose: ${reason}`);
          options.onLose?.();
        },
      },
      confirmedAt: () => (this.confirms ? ++this.confirmed : this.confirmed),
      unconfirmedMs: 600,
      firstConfirmationMs: 1_200,
      hindrance: () => this.hindrance,
      ...(options.announce ? { announce: options.announce } : {}),
      logger: silent,
      metrics: noMetrics,
      clock: systemClock,
      random: Math.random,
    });
  }

  get leading(): boolean {
    return this.leadership.leading;
  }
}

let fixture: DatabaseFixture;
let candidates: Candidate[];

async function candidate(name: string, appType: AppType, options = {}): Promise<Candidate> {
  const db = fixture.open();
  await db.start();
  const made = new Candidate(db, name, appType, options);
  candidates.push(made);
  return made;
}
async function running(name: string, appType: AppType, options = {}): Promise<Candidate> {
  const made = await candidate(name, appType, options);
  await made.leadership.start();
  return made;
}
const leads = (one: Candidate, within = 5_000) =>
  eventually(() => one.leading && one.events.at(-1) === 'gain', { within, what: `${one.name} leading` });
const setUp = async (makeFixture: () => Promise<DatabaseFixture>) => {
  fixture = await makeFixture();
  candidates = [];
  await openMigrated(fixture);
  return async () => {
    await Promise.all(candidates.map((one) => one.leadership.stop()));
    expect(await fixture.foreign('SELECT * FROM worker_process')).toEqual([]);
    await fixture.close();
  };
};

describe.each(FIXTURES)('the election on %s', (_kind, makeFixture) => {
  beforeEach(() => setUp(makeFixture));

  it('lets a single process lead at once', async () => {
    const before = performance.now();
    await leads(await running('main', 'webapp'));
    expect(performance.now() - before).toBeLessThan(500);
  });

  it('hands the role to a standalone monitor that comes later, and never has two leaders', async () => {
    let both = false;
    const check = () => {
      both ||= candidates.filter((one) => one.leading).length > 1;
    };
    const worker = await running('main.1', 'webapp', { onGain: check });
    await leads(worker);
    const monitor = await running('sse_monitor.host.1', 'sse_monitor', { onGain: check });
    await leads(monitor);
    expect(worker.events).toEqual(['gain', 'lose: sse_monitor.host.1 takes over']);
    expect(both).toBe(false);
  });

  it('hands the role to the monitor, not to another worker that hears of it first', async () => {
    const workers = () => candidates.filter(({ name }) => name.startsWith('main'));
    // A monitor has no queue: it is not told, and looks once in a while.
    const announce = async () => {
      for (const one of workers()) one.leadership.electNow();
    };
    const intervals = { heartbeatMs: 1_500, standbyMs: 1_000 };
    const options = { announce, ...intervals };
    await leads(await running('main.1', 'webapp', options));
    await running('main.2', 'webapp', options);
    await eventually(async () => (await fixture.foreign('SELECT * FROM worker_process')).length === 2);
    const monitor = await running('sse_monitor.host.1', 'sse_monitor', intervals);
    await leads(monitor);
    expect(workers().map(({ events }) => events)).toEqual([
      ['gain', 'lose: sse_monitor.host.1 takes over'],
      [],
    ]);
  });

  it('has a leader again at once where a worker steps down for a monitor, which nobody wakes', async () => {
    let before = 0;
    const freed = () => {
      before ||= performance.now();
    };
    const intervals = { heartbeatMs: 2_000, standbyMs: 1_800 };
    const worker = await running('main.1', 'webapp', { ...intervals, onLose: freed });
    await leads(worker);
    const monitor = await running('sse_monitor.host.1', 'sse_monitor', intervals);
    // Its first row may be older than the worker's own in this tenure, and then its second counts.
    await leads(monitor, 10_000);
    expect(worker.events).toEqual(['gain', 'lose: sse_monitor.host.1 takes over']);
    expect(performance.now() - before).toBeLessThan(500);
  });

  it('replaces a leader that stops cleanly within 1 s, when the others are told', async () => {
    const announced: string[] = [];
    const announce = async () => {
      announced.push('reconfigure_watcher');
      for (const one of candidates) one.leadership.electNow();
    };
    const first = await running('main.2', 'webapp', { announce });
    await leads(first);
    const second = await running('main.1', 'webapp', { announce });
    await eventually(async () => (await fixture.foreign('SELECT * FROM worker_process')).length === 2);
    await first.leadership.stop();
    expect(first.events).toEqual(['gain', 'lose: stopping']);
    expect(announced).toHaveLength(1);
    await leads(second, 1_000);
  });

  it('does not wait for a monitor that has missed its heartbeat', async () => {
    const intervals = { heartbeatMs: 3_000, standbyMs: 900 };
    const announce = async () => candidates.at(-1)!.leadership.electNow();
    const monitor = await running('sse_monitor.b', 'sse_monitor', { ...intervals, announce });
    await leads(monitor);
    const worker = await running('main', 'webapp', intervals);
    await eventually(async () => (await fixture.foreign('SELECT * FROM worker_process')).length === 2);
    const died = formatSql((await worker.db.now()) - 4_600_000);
    await fixture.foreign(
      `INSERT INTO worker_process (server_name, hostname, pid, app_type, update_time) VALUES ('sse_monitor.a', 'host', 1, 'sse_monitor', '${died}')`,
    );
    await monitor.leadership.stop();
    const before = performance.now();
    await leads(worker);
    expect(performance.now() - before).toBeLessThan(700);
    await fixture.foreign('DELETE FROM worker_process WHERE pid = 1');
  });

  it('is not impressed by the row of a better candidate that is dead', async () => {
    const now = formatSql(await (await candidate('unused', 'webapp')).db.now());
    await fixture.foreign(
      `INSERT INTO worker_process (server_name, hostname, pid, app_type, update_time) VALUES ('sse_monitor.gone.1', 'host', 1, 'sse_monitor', '${now}')`,
    );
    const alive = await running('main', 'webapp');
    await leads(alive, 2_000);
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    expect(alive.events).toEqual(['gain']);
    await fixture.foreign('DELETE FROM worker_process WHERE pid = 1');
  });

  it('does not step down for the last heartbeat of the one that led before', async () => {
    const worker = await candidate('main', 'webapp', { heartbeatMs: 1_000 });
    const dead = { serverName: 'sse_monitor.dead', hostname: 'host', pid: 1, appType: 'sse_monitor' };
    const rows = new SqlWorkerProcesses(worker.db);
    const lock = worker.db.createLeaderLock('monitor', lockLabel(dead));
    await lock.tryAcquire();
    await rows.beat(dead, 61_000);
    await worker.leadership.start();
    await new Promise((resolve) => setTimeout(resolve, 300));
    // It beats, is seen by nobody, and dies.
    await rows.beat(dead, 61_000);
    await lock.release();
    await leads(worker);
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    expect(worker.events).toEqual(['gain']);
    await rows.remove(dead);
  });

  it('steps down once for a monitor that beats, and leads again when that one does not take the lock', async () => {
    const ours = await running('main', 'webapp');
    await leads(ours);
    // Galaxy's own monitor: it writes its row and knows nothing of our lock.
    const beat = async () => {
      const now = formatSql(await ours.db.now());
      await fixture.foreign(`
        INSERT INTO worker_process (server_name, hostname, pid, app_type, update_time)
        VALUES ('sse_monitor.galaxy', 'host', 2, 'sse_monitor', '${now}')
        ON CONFLICT (server_name, hostname) DO UPDATE SET update_time = excluded.update_time`);
    };
    let beats = true;
    const beating = (async () => {
      for (; beats; await new Promise((resolve) => setTimeout(resolve, 100))) await beat();
    })();
    await eventually(() => ours.events.length > 1);
    expect(ours.events[1]).toBe('lose: sse_monitor.galaxy takes over');
    // It never takes the lock, and goes on beating: that was in vain, and is not done again.
    await leads(ours, 5_000);
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    beats = false;
    await beating;
    expect(ours.events.slice(2)).toEqual(['gain']);
    await fixture.foreign('DELETE FROM worker_process WHERE pid = 2');
  });

  it('gives the role up when nothing is confirmed, and another leads', async () => {
    const cut = await running('sse_monitor.cut', 'sse_monitor');
    await leads(cut);
    const able = await running('main', 'webapp');
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(able.leading).toBe(false);
    cut.confirms = false;
    await eventually(() => cut.events.length > 1, { within: 2_000 });
    expect(cut.events[1]).toBe('lose: the broker has confirmed nothing for 1 s');
    await leads(able, 2_000);
    expect(cut.events).toHaveLength(2);
  });

  it('does not try while it could not do the work, says so, and tries as soon as it can', async () => {
    const one = await candidate('main', 'webapp');
    one.hindrance = 'no broker';
    await one.leadership.start();
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    expect([one.leading, one.leadership.problem()]).toEqual([false, undefined]);
    await eventually(() => one.leadership.problem(), { within: 6_000 });
    expect(one.leadership.problem()).toMatch(
      /^no process has been the monitor for \d s; .*because no broker$/,
    );
    // Galaxy's own monitors would wait for it.
    expect(await fixture.foreign('SELECT * FROM worker_process')).toEqual([]);
    one.hindrance = undefined;
    one.leadership.unhindered();
    await leads(one, 500);
    expect(one.leadership.problem()).toBeUndefined();
  }, 15_000);

  it('tries again when the monitor could not begin', async () => {
    const one = await candidate('main', 'webapp');
    one.gainFails = true;
    await one.leadership.start();
    await eventually(() => one.events.length > 0);
    expect(one.events[0]).toBe('lose: the monitor cannot start: cannot begin');
    one.gainFails = false;
    await leads(one, 9_000);
  });

  it('may be started and stopped twice', async () => {
    const one = await candidate('main', 'webapp');
    await Promise.all([one.leadership.start(), one.leadership.start()]);
    await leads(one);
    await Promise.all([one.leadership.stop(), one.leadership.stop()]);
    expect(one.events).toEqual(['gain', 'lose: stopping']);
    await one.leadership.start();
    await leads(one);
  });

  it('costs a process no more than one statement per interval while nothing happens', async () => {
    const leader = await running('main.2', 'webapp', { heartbeatMs: 1_000 });
    await leads(leader);
    const standby = await running('main.1', 'webapp', { heartbeatMs: 1_000 });
    await new Promise((resolve) => setTimeout(resolve, 500));
    const before = [leader.db.statements, standby.db.statements];
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    // Ten intervals of 0.2 s; on SQLite a heartbeat is a write and a read.
    expect(standby.db.statements - before[1]!).toBeLessThanOrEqual(12);
    expect(leader.db.statements - before[0]!).toBeLessThanOrEqual(6);
  });
});

describe('the election on PostgreSQL, when things break', () => {
  beforeEach(() => setUp(postgresFixture));
  const endSessions = (where: string) =>
    fixture.foreign(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND ${where}`,
    );

  it('replaces a leader that died, although its row still counts as active', async () => {
    const first = await running('sse_monitor.a', 'sse_monitor');
    await leads(first);
    const [second, third] = [await running('main.2', 'webapp'), await running('main.1', 'webapp')];
    await eventually(async () => (await fixture.foreign('SELECT * FROM worker_process')).length === 3);
    // As kill -9 does: no goodbye, only the sessions end.
    await first.db.stop();
    await endSessions("application_name LIKE 'lightcone lock%'");
    const before = performance.now();
    await leads(second, 2_000);
    expect(performance.now() - before).toBeLessThan(2_000);
    expect(third.events).toEqual([]);
    await first.db.start();
  });

  it('stops leading before anything else when its lock session is ended, and somebody leads within 2 s', async () => {
    const one = await running('main', 'webapp');
    await leads(one);
    await endSessions("application_name LIKE 'lightcone lock%'");
    await eventually(() => one.events.length > 1, { within: 1_000 });
    expect(one.events[1]).toMatch(/^lose: leader lock lost/);
    await leads(one, 2_000);
  });

  it('goes on leading while only its heartbeat fails', async () => {
    const one = await running('main', 'webapp');
    await leads(one);
    await fixture.foreign('ALTER TABLE worker_process RENAME TO hidden');
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    expect(one.events).toEqual(['gain']);
    await fixture.foreign('ALTER TABLE hidden RENAME TO worker_process');
  });

  it('leads after a holder that says nothing any more, although the row of that one goes on beating', async () => {
    const frozen = await candidate('sse_monitor.frozen', 'sse_monitor');
    const self = { serverName: frozen.name, hostname: 'host', pid: 1 };
    // As a process stopped with SIGSTOP, whose twin of the same name is well.
    const workers = new SqlWorkerProcesses(frozen.db);
    const twin = setInterval(() => void workers.beat({ ...self, appType: 'sse_monitor' }, 61_000), 100);
    const lock = frozen.db.createLeaderLock('monitor', lockLabel(self), 1_000);
    const losses: string[] = [];
    lock.onLost((reason) => losses.push(reason));
    await lock.tryAcquire();
    const alive = await running('main', 'webapp');
    await new Promise((resolve) => setTimeout(resolve, 400));
    expect(alive.leading).toBe(false);
    await leads(alive, 4_000);
    expect(losses).toHaveLength(1);
    clearInterval(twin);
    await new Promise((resolve) => setTimeout(resolve, 100));
    await workers.remove(self);
  });
});
