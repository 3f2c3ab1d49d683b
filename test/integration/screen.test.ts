/**
 * The screen is right: a client that asks for the delta of each event holds what the database holds, however long the
 * transactions were open. Two protocols: `since` of the event, and the `update_time` of the event before, as Galaxy's document
 * says.
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import pg from 'pg';
import { afterEach, describe, expect, it } from 'vitest';
import type { Worker } from '../../src/app/processes/worker.js';
import { clientOptions } from '../../src/database/postgres/options.js';
import { eventually } from '../support/eventually.js';
import { DEMO, Installation } from '../support/installation.js';
import { locate } from '../support/programs.js';

const KEY = { 'x-api-key': 'demo-alice' };
const LONG = process.env.LIGHTCONE_FAULTS === 'long';
const history = DEMO.histories.alice;

let here: Installation;
afterEach(() => here.close());

interface Row {
  type_id: string;
  name: string;
}
interface Delta {
  since: string | null;
  up_to_date: boolean;
  start_over: boolean;
  contents: Row[];
}

async function get<T>(url: string): Promise<T> {
  const answer = await fetch(url, { headers: KEY });
  if (!answer.ok) throw new Error(`${answer.status}: ${await answer.text()}`);
  return (await answer.json()) as T;
}

/** Follows one history on one worker. */
class Screen {
  readonly rows = new Map<string, string>();
  readonly seen: string[] = [];
  private work: Promise<void> = Promise.resolve();
  private before: string | undefined;

  constructor(
    private readonly url: string,
    private readonly protocol: 'since' | 'update_time',
  ) {}

  async open(): Promise<void> {
    const stream = await here.stream(this.url);
    const contents = `${this.url}/api/histories/${here.encode(history)}/contents`;
    for (const row of await get<Row[]>(contents)) this.rows.set(row.type_id, row.name);
    let done = stream.frames.length;
    const timer = setInterval(() => {
      for (; done < stream.frames.length; done += 1) {
        const frame = stream.frames[done]!;
        if (frame.event !== 'history_update') continue;
        this.seen.push(frame.data!);
        this.work = this.work.then(() => this.follow(contents, JSON.parse(frame.data!)));
      }
    }, 5);
    closing.push(() => clearInterval(timer));
  }

  private async follow(
    contents: string,
    { since, update_time }: { since?: Record<string, string | null>; update_time: string },
  ): Promise<void> {
    if (this.protocol === 'since') {
      let token = since?.[here.encode(history)] ?? '';
      for (;;) {
        const delta = await get<Delta>(`${contents}?limit=3&since=${token}`);
        if (delta.start_over) this.rows.clear();
        for (const row of delta.contents) this.rows.set(row.type_id, row.name);
        if (delta.up_to_date) return;
        token = delta.since!;
      }
    }
    const floor = this.before ?? '2020-01-01';
    this.before = update_time;
    for (const row of await get<Row[]>(`${contents}?q=update_time-ge&qv=${floor}`)) {
      this.rows.set(row.type_id, row.name);
    }
  }
}
const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
});

async function datasets(): Promise<number[]> {
  for (let i = 0; i < 4; i += 1) {
    await here.sql(`INSERT INTO history_dataset_association (history_id, name, validated_state, hid, update_time)
      VALUES (${history}, 'old', 'unvalidated', ${100 + i}, '2026-01-01 00:00:00')`);
  }
  const rows = await here.sql<{ id: number }>(
    `SELECT id FROM history_dataset_association WHERE history_id = ${history} AND name = 'old' ORDER BY id`,
  );
  return rows.map(({ id }) => id);
}

const positionsKnown = (worker: Worker) =>
  eventually(() => worker.manager.positions.newest() !== undefined, { within: 10_000, what: 'a tick' });

const names = async (): Promise<string[]> =>
  (
    await here.sql<{ name: string }>(
      `SELECT name FROM history_dataset_association WHERE history_id = ${history} ORDER BY id`,
    )
  ).map(({ name }) => name);

const shown = ({ rows }: Screen): string[] =>
  [...rows].sort(([a], [b]) => a.localeCompare(b, undefined, { numeric: true })).map(([, name]) => name);

const isRight = async (screens: readonly Screen[]): Promise<boolean> => {
  const right = (await names()).sort();
  return screens.every((screen) => JSON.stringify(shown(screen).sort()) === JSON.stringify(right));
};

/** Another program, whose transaction stays open for as long as the test likes. */
interface Writer {
  run(text: string): Promise<unknown>;
}

async function postgresWriter(): Promise<Writer> {
  const client = new pg.Client(clientOptions(String(here.galaxy.database_connection), 'writer'));
  client.on('error', () => {});
  await client.connect();
  closing.push(() => void client.end().catch(() => {}));
  return { run: (text) => client.query(text) };
}

function sqliteWriter(waitMs: number): Writer {
  const shell = spawn(locate('sqlite3'), [
    '-cmd',
    `.timeout ${waitMs}`,
    join(here.folder, 'lightcone.sqlite'),
  ]);
  const lines = createInterface(shell.stdout)[Symbol.asyncIterator]();
  closing.push(() => shell.stdin.end());
  return {
    run: async (text) => {
      shell.stdin.write(`${text};\nSELECT 'done';\n`);
      expect((await lines.next()).value).toBe('done');
    },
  };
}

const rename = (id: number, name: string, now: string): string =>
  `UPDATE history_dataset_association SET name = '${name}', update_time = ${now} WHERE id = ${id}`;
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Each worker's screens by both protocols, once the first event has come. */
async function openScreens(urls: readonly string[]): Promise<Screen[]> {
  const screens = urls.flatMap((url) => [new Screen(url, 'since'), new Screen(url, 'update_time')]);
  for (const screen of screens) await screen.open();
  await here.change(history);
  await eventually(() => screens.every(({ seen }) => seen.length > 0), { within: 10_000 });
  return screens;
}

const OPEN = [
  ['one that is open for 3 s', 3_000, 'UPDATE'],
  ['one that wrote in savepoints', 3_000, 'SAVEPOINT'],
  ...(LONG ? [['one that is open for 12 s', 12_000, 'UPDATE'] as const] : []),
] as const;

/**
 * The other transaction is open before the screens are, and after they are judged: all that others see of it is that it is open,
 * not since when.
 */
describe.each([
  ['RabbitMQ and two workers', () => Installation.production(), 2],
  ['one worker, without a broker', () => Installation.withoutBroker(), 1],
] as const)('with PostgreSQL, %s', (_, install, count) => {
  const NOW = "clock_timestamp() AT TIME ZONE 'UTC'";

  it.each(OPEN)('shows the change of %s, while another one is open all the time', async (__, openMs, how) => {
    here = await install();
    const workers = [];
    for (let n = 0; n < count; n += 1) workers.push(await here.worker());
    for (const { worker } of workers) await positionsKnown(worker);
    const [a, ...others] = await datasets();
    const hour = await postgresWriter();
    await hour.run(`BEGIN; UPDATE history SET name = 'still open' WHERE id = ${DEMO.histories.bob}`);
    const screens = await openScreens(workers.map(({ url }) => url));
    const long = await postgresWriter();
    await long.run('BEGIN');
    if (how === 'SAVEPOINT') await long.run('SAVEPOINT one');
    // Stamped now, by whoever writes, and seconds before it can be seen.
    await long.run(rename(a!, 'late', NOW));
    if (how === 'SAVEPOINT') await long.run('RELEASE one');
    const until = performance.now() + openMs;
    for (let n = 0; performance.now() < until; n += 1) {
      await here.sql(rename(others[n % others.length]!, `quick ${n}`, NOW));
      await pause(500);
    }
    await long.run('COMMIT');
    const committed = performance.now();
    await eventually(() => isRight(screens), { within: 2_000, what: 'the screens are right' });
    expect(performance.now() - committed).toBeLessThan(2_000);
    expect(screens[0]!.rows.get(`dataset-${here.encode(a!)}`)).toBe('late');
    await hour.run('ROLLBACK');
  });
});

describe('with SQLite', () => {
  const NOW = "strftime('%Y-%m-%d %H:%M:%f', 'now')";

  it.each(OPEN)(
    'shows the change of %s, while everybody reads and nobody else can write',
    async (_, openMs, how) => {
      here = Installation.embedded();
      const { worker, url } = await here.worker();
      await positionsKnown(worker);
      const [a, b] = await datasets();
      const screens = await openScreens([url]);
      const contents = `${url}/api/histories/${here.encode(history)}/contents`;
      await here.sql(rename(b!, 'quick', NOW));
      await eventually(() => isRight(screens), { within: 2_000, what: 'the quick change' });
      const long = sqliteWriter(5_000);
      await long.run('BEGIN IMMEDIATE');
      if (how === 'SAVEPOINT') await long.run('SAVEPOINT one');
      await long.run(rename(a!, 'late', NOW));
      if (how === 'SAVEPOINT') await long.run('RELEASE one');
      // B waits for A, as all writers of SQLite do: its row is stamped when it may write, so there is nothing in between.
      const waiting = sqliteWriter(openMs + 10_000);
      const behind = waiting.run(rename(b!, 'quick again', NOW));
      const until = performance.now() + openMs;
      while (performance.now() < until) {
        const asked = performance.now();
        const seen = await get<Delta>(`${contents}?since=`);
        expect(performance.now() - asked).toBeLessThan(1_000);
        expect(seen.contents.map(({ name }) => name)).not.toContain('late');
        await pause(500);
      }
      await long.run('COMMIT');
      const committed = performance.now();
      await behind;
      await eventually(() => isRight(screens), { within: 2_000, what: 'the screens are right' });
      expect(performance.now() - committed).toBeLessThan(2_000);
      expect(screens[0]!.rows.get(`dataset-${here.encode(a!)}`)).toBe('late');
      expect(screens[0]!.rows.get(`dataset-${here.encode(b!)}`)).toBe('quick again');
    },
  );

  it('shows a change that was stamped by a clock that is behind', async () => {
    here = Installation.embedded();
    const { worker, url } = await here.worker();
    await positionsKnown(worker);
    const [a] = await datasets();
    const screens = await openScreens([url]);
    await here.sql(rename(a!, 'late', "strftime('%Y-%m-%d %H:%M:%f', 'now', '-8 seconds')"));
    await eventually(() => isRight(screens), { within: 2_000, what: 'the late change' });
    expect(screens[0]!.rows.get(`dataset-${here.encode(a!)}`)).toBe('late');
  });

  it('answers with everything, page by page, at first and when it cannot know what changed', async () => {
    here = Installation.embedded();
    const { worker, url } = await here.worker();
    await datasets();
    await positionsKnown(worker);
    const contents = `${url}/api/histories/${here.encode(history)}/contents`;
    const first = await get<Delta>(`${contents}?since=`);
    expect(first).toMatchObject({ start_over: true, up_to_date: true });
    expect(first.contents).toHaveLength((await names()).length);
    expect(await get<Delta>(`${contents}?since=${first.since}`)).toMatchObject({
      start_over: false,
      up_to_date: true,
    });
    expect(await get<Delta>(`${contents}?since=00000000.${first.since!.split('.')[1]}`)).toMatchObject({
      start_over: true,
      contents: { length: first.contents.length },
    });
    const pages: Row[] = [];
    let token = '';
    for (let n = 0; n < 20; n += 1) {
      const page = await get<Delta>(`${contents}?limit=2&since=${token}`);
      expect(page.start_over).toBe(n === 0);
      pages.push(...page.contents);
      token = page.since!;
      if (page.up_to_date) break;
    }
    expect(pages.map(({ type_id }) => type_id)).toEqual(first.contents.map(({ type_id }) => type_id));
    expect((await fetch(`${contents}?since=nonsense`, { headers: KEY })).status).toBe(400);
    expect((await fetch(`${contents}?since=&q=name&qv=x`, { headers: KEY })).status).toBe(400);
  });
});
