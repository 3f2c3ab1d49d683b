/** What `lightcone doctor` says of an installation on PostgreSQL and RabbitMQ, as it breaks. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GALAXY_TABLES } from '../support/galaxy-tables.js';
import { DEMO, Installation, type Settings } from '../support/installation.js';

let here: Installation;
beforeAll(async () => {
  here = await Installation.production();
}, 120_000);
afterAll(() => here.close());

/** @returns the exit code, and the lines by name: `{ schema: 'ok every migration is applied', … }` */
async function doctor(settings: Settings = {}) {
  const process = here.process(['doctor'], settings);
  const { code } = await process.exited;
  const lines = process.stdout
    .trimEnd()
    .split('\n')
    .map((line) => /^(\S+) +(\S+) +(.*)$/.exec(line)!);
  return { code, said: Object.fromEntries(lines.map(([, state, name, text]) => [name, `${state} ${text}`])) };
}

describe('doctor', () => {
  it('says that the tables are not made yet', async () => {
    const { code, said } = await doctor();
    expect([code, said.schema]).toEqual([
      1,
      'problem not applied yet: galaxy tables, audit triggers, own tables, resources, visibility, quiet triggers, triggers without search_path; run "lightcone migrate" (or start "lightcone serve")',
    ]);
  });

  it('finds everything well, who is the monitor, and the worker at the address of the settings', async () => {
    const { url, stop } = await here.worker();
    await expect.poll(async () => (await fetch(`${url}/wellz`)).status, { timeout: 5_000 }).toBe(200);
    const { code, said } = await doctor({ sse: { listen: url.replace('http://', '') } });
    expect(said).toMatchObject({
      schema: 'ok every migration is applied',
      triggers: 'ok all six are there',
      listen: 'ok a NOTIFY comes back',
      commits: 'ok no writer waits for the NOTIFY of another',
      election: expect.stringMatching(/^ok monitor: process \d+ main\.1@\S+; heartbeats: main\.1@\S+$/),
      broker: expect.stringMatching(/^ok amqp/),
      worker: expect.stringMatching(/^ok the worker at 127\.0\.0\.1:\d+ is ready and has no problems$/),
    });
    expect(code).toBe(0);
    await stop();
  });

  it('notes that nothing runs, which is no mistake', async () => {
    const { code, said } = await doctor({ sse: { listen: '127.0.0.1:9' } });
    expect(said.election).toMatch(/^note no process is the monitor; .* start "lightcone serve"$/);
    expect(said.worker).toMatch(/^note nothing listens on 127\.0\.0\.1:9 .* start "lightcone serve"/);
    expect(code).toBe(0);
  });

  it('does not take the heartbeat of a process that died for a monitor', async () => {
    const beat = (secondsAgo: number) =>
      here.sql(`INSERT INTO worker_process (server_name, hostname, pid, app_type, update_time)
        VALUES ('sse_monitor.dead', 'host', 1, 'sse_monitor', now() AT TIME ZONE 'UTC' - interval '${secondsAgo} seconds')`);
    await beat(30);
    expect((await doctor()).said.election).toMatch(
      /^note no process is the monitor; heartbeats: sse_monitor\.dead@host \(silent for 3\d s\); start/,
    );
    await here.sql('DELETE FROM worker_process');
    await beat(1);
    expect(await doctor()).toMatchObject({
      code: 1,
      said: {
        election: expect.stringContaining(
          'problem no process is the monitor, so no change is delivered; heartbeats:',
        ),
      },
    });
    await here.sql('DELETE FROM worker_process');
  });

  it('names triggers that are disabled or dropped, and migrate brings them back', async () => {
    await here.sql('ALTER TABLE history DISABLE TRIGGER trigger_history_audit_by_id_aus');
    await here.sql('DROP FUNCTION fn_audit_history_by_history_id CASCADE');
    const { code, said } = await doctor();
    expect([code, said.triggers]).toEqual([
      1,
      'problem no trigger for UPDATE on history, INSERT on history_dataset_association, UPDATE on history_dataset_association, ' +
        'INSERT on history_dataset_collection_association, UPDATE on history_dataset_collection_association: such changes are not seen; ' +
        'run "lightcone migrate", which creates and enables missing triggers',
    ]);
    const migrate = async (): Promise<string> => {
      const process = here.process(['migrate']);
      await process.exited;
      return process.stdout;
    };
    expect(await migrate()).toMatch(
      /created or enabled .*trigger_history_audit_by_id_aus on history; no event reports/,
    );
    expect((await doctor()).said.triggers).toBe('ok all six are there');
    expect(await migrate()).toMatch(/ is up to date$/m);
  });

  it('measures the clock that stamps rows, whatever else is written', async () => {
    const historyId = DEMO.histories.alice;
    const stamp = (seconds: number) =>
      here.sql(`INSERT INTO history_dataset_association (history_id, name, validated_state, hid, update_time)
        VALUES (${historyId}, 'stamped', 'unvalidated', 1, clock_timestamp() AT TIME ZONE 'UTC' + interval '${seconds} s')`);
    const clear = () => here.sql('DELETE FROM history_dataset_association; TRUNCATE history_audit');
    await clear();
    await here.change(historyId);
    expect((await doctor()).said.rows).toBe(
      'ok no dataset was written recently, so the clock that stamps them is unknown',
    );
    for (const seconds of [0, -3, 4]) {
      await clear();
      // A write that stamps nothing is no measure.
      await here.sql(`INSERT INTO history_dataset_association (history_id, name, validated_state, hid, update_time)
        VALUES (${historyId}, 'old', 'unvalidated', 1, '2026-01-01')`);
      for (let n = 0; n < 3; n += 1) await stamp(seconds);
      await here.change(historyId);
      const { said, code } = await doctor({ sse: { row_clock_difference: 3.5 } });
      const [, state, apart, side] = /^(\w+) they are stamped ([\d.]+) s (ahead of|behind)/.exec(said.rows!)!;
      expect(Math.abs(Number(apart) - Math.abs(seconds))).toBeLessThan(0.5);
      expect([state, code]).toEqual(seconds === 0 ? ['ok', 0] : seconds < 0 ? ['note', 0] : ['problem', 1]);
      if (seconds !== 0) expect(side).toBe(seconds > 0 ? 'ahead of' : 'behind');
    }
    await clear();
  });

  it('says what the broker refuses', async () => {
    const refused = async (change: (url: URL) => void): Promise<string | undefined> => {
      const url = new URL(here.galaxy.amqp_internal_connection as string);
      change(url);
      return (await doctor({ galaxy: { amqp_internal_connection: url.href } })).said.broker;
    };
    expect(await refused((url) => Object.assign(url, { pathname: '/nowhere' }))).toMatch(
      /^problem .*refuses the virtual host/,
    );
    expect(await refused((url) => Object.assign(url, { password: 'wrong' }))).toMatch(
      /^problem .*refuses the user or the password/,
    );
  });
});

describe('beside a Galaxy', () => {
  it('refuses its tables while attach_to_galaxy is not set, and takes them when it is', async () => {
    const galaxy = await Installation.production();
    const before = here;
    here = galaxy;
    try {
      await galaxy.sql(GALAXY_TABLES);
      expect((await doctor()).said.schema).toContain(
        'problem the database already has a table "history" of another program;  set attach_to_galaxy: true',
      );
      const { code, said } = await doctor({ sse: { attach_to_galaxy: true } });
      expect(said.schema).toContain('note table lightcone_position is missing');
      expect(said.triggers).toContain('note they send no NOTIFY, so the audit table is polled');
      expect(code).toBe(0);
    } finally {
      here = before;
      await galaxy.close();
    }
  });
});
