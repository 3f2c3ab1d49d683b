/**
 * The database is set back to an earlier state: what was told since then never happened. Streams that are open, tabs that come
 * back and REST all say so, in the same words (`null` and `start_over`), and screens that follow them are right.
 */
import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import type { Worker } from '../../src/app/processes/worker.js';
import { Screen } from '../faults/screens.js';
import { eventually } from '../support/eventually.js';
import { DEMO, Installation } from '../support/installation.js';
import { startPostgres } from '../support/postgres.js';
import type { SseClient } from '../support/sse-client.js';

const KEY = 'demo-alice';
const history = DEMO.histories.alice;
const rename = (name: string): string =>
  `UPDATE history_dataset_association SET name = '${name}' WHERE history_id = ${history}`;

const FIRST = `INSERT INTO history_dataset_association (history_id, name, validated_state, hid)
  VALUES (${history}, 'first', 'unvalidated', 900)`;

let here: Installation;
const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

interface Delta {
  since: string;
  start_over: boolean;
  up_to_date: boolean;
  contents: { name: string }[];
}

async function delta(url: string, since: string): Promise<Delta> {
  const answer = await fetch(
    `${url}/api/histories/${here.encode(history)}/contents?since=${since}&key=${KEY}`,
  );
  expect(answer.status).toBe(200);
  return (await answer.json()) as Delta;
}

const positionsKnown = (worker: Worker) =>
  eventually(() => worker.manager.positions.newest() !== undefined, { within: 10_000, what: 'a tick' });

/** What the stream says of Alice's history in `since`, event by event. */
const told = (stream: SseClient): (string | null)[] =>
  stream.frames.flatMap((frame) => {
    if (frame.event !== 'history_update') return [];
    const { since } = JSON.parse(frame.data!) as { since?: Record<string, string | null> };
    const token = since?.[here.encode(history)];
    return token === undefined ? [] : [token];
  });

function follow(stream: SseClient, base: string, rule: ConstructorParameters<typeof Screen>[3]): Screen {
  const screen = new Screen('tab', stream, here.encode(history), rule, () => ({ base, key: KEY }));
  const timer = setInterval(() => screen.follow(), 20);
  closing.push(() => {
    clearInterval(timer);
    return screen.close();
  });
  return screen;
}

const shows = (screen: Screen, name: string) =>
  eventually(() => [...screen.rows.values()].includes(name), { within: 10_000, what: `${name} is shown` });

describe('a PostgreSQL whose files are put back while a worker runs', () => {
  it('is told to open streams and in REST, and screens show what there is now', async () => {
    const server = await startPostgres();
    closing.push(() => server.stop());
    here = await Installation.withoutBroker(server);
    closing.push(() => here.close());
    const { worker, url } = await here.worker();
    await positionsKnown(worker);
    await here.sql(FIRST);
    const stream = await here.stream(url);
    const screens = (['since of the event', 'since of the answer'] as const).map((rule) =>
      follow(stream, url, rule),
    );
    for (const screen of screens) await shows(screen, 'first');
    await server.halt();
    const copy = `${server.data}-copy`;
    await server.asServer('cp', '-a', server.data, copy);
    await server.resume();
    // Some of it is stored with a position, and told.
    const isTold = async () => {
      await here.sql(rename('lost')).catch(() => {});
      return screens.every(({ rows }) => [...rows.values()].every((name) => name === 'lost'));
    };
    await eventually(isTold, { within: 20_000, what: 'all rows are shown as lost' });
    const { since: held } = await delta(url, '');
    // Others write as well: more than this worker itself does before it reads.
    await here.sql('DO $$ BEGIN FOR n IN 1..500 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$');
    const [row] = await here.sql<{ xid: string }>('SELECT pg_current_xact_id()::text AS xid');
    await here.sql(rename('lost'));
    const isTicked = () =>
      Number(worker.manager.positions.newest()!.position.split(':')[1]) > Number(row!.xid);
    await eventually(isTicked, { within: 10_000, what: 'a tick behind all of it' });
    await server.halt();
    await server.asServer('rm', '-r', server.data);
    await server.asServer('mv', copy, server.data);
    await server.resume();
    await eventually(() => told(stream).includes(null), { within: 20_000, what: 'null in the stream' });
    const answer = await delta(url, held);
    expect(answer.start_over).toBe(true);
    expect(answer.contents.map(({ name }) => name)).not.toContain('lost');
    for (const screen of screens) {
      await shows(screen, 'first');
      expect([...screen.rows.values()]).not.toContain('lost');
    }
    const { since: now } = await delta(url, held);
    expect(await delta(url, now)).toMatchObject({ start_over: false, contents: [] });
  });
});

describe('a SQLite database into which a backup is copied while nothing runs', () => {
  it('is told to the tab that comes back, and in REST', async () => {
    here = Installation.embedded();
    closing.push(() => here.close());
    const first = await here.worker();
    await positionsKnown(first.worker);
    const file = join(here.folder, 'lightcone.sqlite');
    await here.sql(FIRST);
    const backup = `${file}.backup`;
    await here.sql(`VACUUM INTO '${backup}'`);
    const stream = await here.stream(first.url);
    await here.sql(rename('lost'));
    await stream.waitForHistory(here.encode(history));
    const { since: held } = await delta(first.url, '');
    const lastEventId = stream.lastEventId!;
    here.closeStreams();
    await first.stop();
    await copyFile(backup, file);
    // The backup is of ten minutes ago.
    await here.sql(`DELETE FROM worker_process; UPDATE lightcone_position SET moment = strftime('%Y-%m-%d %H:%M:%f', moment, '-10 minutes');
      UPDATE history_audit SET update_time = strftime('%Y-%m-%d %H:%M:%f', update_time, '-10 minutes')`);
    const { worker, url } = await here.worker();
    await positionsKnown(worker);
    const back = await here.stream(url, `key=${KEY}`, { lastEventId });
    await eventually(() => told(back).length > 0, { within: 5_000, what: 'the catch-up' });
    expect(told(back)).toEqual([null]);
    const answer = await delta(url, held);
    expect(answer.start_over).toBe(true);
    expect(answer.contents.map(({ name }) => name)).toContain('first');
    expect(answer.contents.map(({ name }) => name)).not.toContain('lost');
  });
});
