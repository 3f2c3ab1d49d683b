/**
 * Whoever polls with a time misses no row that was stamped before that time and committed after it: the current history, what
 * is in it, and the status of notifications. (What `update_time-ge` answers is in `screen.test.ts` as well.)
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import pg from 'pg';
import { afterEach, describe, expect, it } from 'vitest';
import { clientOptions } from '../../src/database/postgres/options.js';
import { eventually } from '../support/eventually.js';
import { DEMO, Installation } from '../support/installation.js';
import { locate } from '../support/programs.js';
import { restOf } from '../support/rest.js';

let here: Installation;
const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
  await here.close();
});

/** Another program, whose transaction stays open for as long as the test likes. */
interface Writer {
  run(text: string): Promise<unknown>;
}

async function writer(): Promise<Writer> {
  if (here.kind === 'sqlite') {
    const shell = spawn(locate('sqlite3'), ['-cmd', '.timeout 5000', `${here.folder}/lightcone.sqlite`]);
    const lines = createInterface(shell.stdout);
    closing.push(async () => {
      shell.stdin.end();
      await once(shell, 'exit');
    });
    return {
      run: async (text) => {
        const done = once(lines, 'line');
        shell.stdin.write(`${text};\nSELECT 'done';\n`);
        expect(await done).toEqual(['done']);
      },
    };
  }
  const client = new pg.Client(clientOptions(String(here.galaxy.database_connection), 'writer'));
  client.on('error', () => {});
  await client.connect();
  closing.push(() => client.end().catch(() => {}));
  return { run: (text) => client.query(text) };
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

describe.each(['PostgreSQL', 'SQLite'] as const)('on %s', (kind) => {
  const start = async () => {
    here = kind === 'SQLite' ? Installation.embedded() : await Installation.production();
    const { worker, url } = await here.worker({ galaxy: { enable_notification_system: true } });
    await eventually(() => worker.manager.positions.newest() !== undefined, { within: 10_000 });
    return { rest: restOf(url), as: 'alice' as const };
  };
  const now =
    kind === 'SQLite' ? "strftime('%Y-%m-%d %H:%M:%f', 'now')" : "clock_timestamp() AT TIME ZONE 'UTC'";

  it('the current history is told again when a change becomes visible that is older than the cursor', async () => {
    const { rest, as } = await start();
    const current = async (since?: string) =>
      (await rest('GET', `/history/current_history_json${since ? `?since=${since}` : ''}`, { as })).body;
    /** What was committed shortly before may be told once more, at the latest until the next tick. */
    const settled = async (answer: { update_time: string }): Promise<{ update_time: string }> => {
      let known = answer;
      await eventually(
        async () => {
          const next = await current(known.update_time);
          known = next ?? known;
          return next === null;
        },
        { within: 8_000, what: 'nothing new' },
      );
      return known;
    };
    await rest('POST', `/api/histories/${here.encode(DEMO.histories.alice)}/contents`, {
      as,
      body: { name: 'one' },
    });
    const late = await writer();
    if (kind === 'PostgreSQL') {
      await late.run(`BEGIN; UPDATE history_dataset_association SET name = 'late' WHERE name = 'one'`);
      // Stamped later than the row that is still open, and seen first.
      const two = await rest('POST', `/api/histories/${here.encode(DEMO.histories.alice)}/contents`, {
        as,
        body: { name: 'two' },
      });
      expect(two.status).toBe(200);
    }
    const known = await settled(await current());
    await pause(2_500);
    expect(await current(known.update_time)).toBeNull();
    if (kind === 'PostgreSQL') await late.run('COMMIT');
    else {
      // Stamped by a clock that is behind.
      await late.run(`INSERT INTO history_audit (history_id, update_time)
        VALUES (${DEMO.histories.alice}, strftime('%Y-%m-%d %H:%M:%f', 'now', '-8 seconds'));
        UPDATE history_audit SET update_time = strftime('%Y-%m-%d %H:%M:%f', 'now', '-8 seconds')
         WHERE id = (SELECT max(id) FROM history_audit)`);
    }
    const answer = await current(known.update_time);
    expect(answer).not.toBeNull();
    expect(answer.update_time > known.update_time).toBe(true);
    await settled(answer);
  });

  it('the status of notifications lists what was made before the cursor and committed after it', async () => {
    const { rest, as } = await start();
    const late = await writer();
    const insert = `INSERT INTO notification (create_time, update_time, publication_time, expiration_time, source, category, variant, dispatched, content)
      VALUES (${now}, ${now}, ${now}, '2100-01-01 00:00:00', 'test', 'message', 'info', true, '{"category":"message","subject":"late","message":"m"}')`;
    const associate = `INSERT INTO user_notification_association (user_id, notification_id, seen_time, deleted, update_time)
      SELECT ${DEMO.users.alice}, max(id), NULL, false, ${now} FROM notification`;
    await late.run(kind === 'SQLite' ? 'BEGIN IMMEDIATE' : 'BEGIN');
    await late.run(`${insert}; ${associate}`);
    // On SQLite nobody else can write meanwhile, and what waits gives up after a while.
    await pause(kind === 'SQLite' ? 2_000 : 13_000);
    const since = new Date().toISOString();
    const status = async () => (await rest('GET', `/api/notifications/status?since=${since}`, { as })).body;
    expect((await status()).notifications).toEqual([]);
    await late.run('COMMIT');
    expect((await status()).notifications).toMatchObject([{ content: { subject: 'late' } }]);
  });
});
