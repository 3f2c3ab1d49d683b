/** What other people's programs met with better-sqlite3 and with files of SQLite. Each test names its report. */
import { copyFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { SequenceLog } from '../../src/database/log/sequence-log.js';
import type { Database } from '../../src/database/port.js';
import { eventually } from '../support/eventually.js';
import { DEMO, Installation } from '../support/installation.js';
import { restOf } from '../support/rest.js';

let here: Installation;
let file: string;
beforeEach(() => {
  here = Installation.embedded();
  file = `${here.folder}/lightcone.sqlite`;
});
afterEach(async () => {
  await here.stopWorkers();
  // The copy has the heartbeat of the worker that ran when it was made.
  await here.sql('DELETE FROM worker_process').catch(() => {});
  await here.close();
});

/** As a backup does: a copy that is whole. */
const backUp = () => here.sql(`VACUUM INTO '${file}.copy'`);
const without = (...parts: string[]) => {
  for (const part of parts) rmSync(file + part);
};

// WiseLibs/better-sqlite3#1237: "In WAL mode exception is not thrown when deleted the database files", all inserts are lost.
// get-bb/bb#2190: the database goes back by two weeks under the running server, which answers everything with 200.
// nfrastack/db-backup#423: a backup of another container removes the -shm file; errors until the application is restarted.
it.each([
  [
    'a restore puts another file in its place',
    () => {
      renameSync(`${file}.copy`, file);
      without('-wal', '-shm');
    },
  ],
  ['all files are deleted', () => without('', '-wal', '-shm')],
  ['another program removes -wal and -shm', () => without('-wal', '-shm')],
  ['another program removes -shm', () => without('-shm')],
])('when %s nothing is acknowledged that would be lost', async (_, change) => {
  const { url, lines } = await here.worker();
  const rest = restOf(url);
  await backUp();
  change();
  const write = await rest('POST', '/api/histories', { as: 'alice', body: { name: 'lost' } });
  expect(write).toMatchObject({ status: 503, body: { err_code: 500001 } });
  for (const path of ['/healthz', '/readyz', '/wellz']) {
    expect(await rest('GET', path)).toMatchObject({
      status: 503,
      body: { problems: expect.arrayContaining([expect.stringMatching(/replaced or deleted.*restarted/)]) },
    });
  }
  expect(lines.filter(({ level, database }) => level === 50 && database === file)).toHaveLength(1);
});

it('a first write, which asks which log it is, finds that the file was deleted', async () => {
  const { worker } = await here.worker();
  const { database } = worker as unknown as { database: Database };
  const log = new SequenceLog(database);
  without('', '-wal', '-shm');
  await expect(log.identify()).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
});

it('a file that is replaced is noticed without a request', async () => {
  const { url, lines } = await here.worker();
  await here.stream(url);
  await backUp();
  renameSync(`${file}.copy`, file);
  without('-wal', '-shm');
  await eventually(() => lines.some(({ level, database }) => level === 50 && database === file), {
    within: 3_000,
    what: 'the line in the log',
  });
});

it('a write that is under way when the file is replaced is not acknowledged', async () => {
  const { worker } = await here.worker();
  const { database } = worker as unknown as { database: Database };
  await backUp();
  const writing = database.transaction(async (tx) => {
    await tx.run('UPDATE history SET name = $1 WHERE id = $2', ['lost', DEMO.histories.alice]);
    copyFileSync(`${file}.copy`, `${file}.restored`);
    renameSync(`${file}.restored`, file);
  });
  await expect(writing).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
});

it('after the restart everything is served from the file that was put there', async () => {
  const first = await here.worker();
  await backUp();
  renameSync(`${file}.copy`, file);
  without('-wal', '-shm');
  await here.change(DEMO.histories.alice);
  await first.stop();
  const { url } = await here.worker();
  const stream = await here.stream(url);
  const { body } = await restOf(url)('POST', '/api/histories', { as: 'alice', body: { name: 'kept' } });
  await stream.waitForHistory(body.id);
  expect(await here.sql("SELECT name FROM history WHERE name = 'kept'")).toEqual([{ name: 'kept' }]);
});

// superseriousbusiness/gotosocial#2808, BYK/loreai#1221, Kpa-clawbot/CoreScope#1434: a reader is always there, no checkpoint comes to its
// end, and the -wal file grows for ever.
it('the -wal file stays small however much is written while streams are open', async () => {
  const { url } = await here.worker();
  const streams = await Promise.all(Array.from({ length: 5 }, () => here.stream(url)));
  const writes = Array.from(
    { length: 1_000 },
    (_, i) => `UPDATE history SET name = 'n${i}' WHERE id = ${DEMO.histories.alice};`,
  ).join('\n');
  for (let i = 0; i < 5; i += 1) await here.sql(writes);
  for (const stream of streams) await stream.waitForHistory(here.encode(DEMO.histories.alice));
  expect(statSync(`${file}-wal`).size).toBeLessThan(16 * 2 ** 20);
}, 60_000);

// desplega-ai/agent-swarm#1228, WiseLibs/better-sqlite3#836: SQLITE_BUSY_SNAPSHOT, for which no busy_timeout waits: somebody else has committed
// between the first read of a transaction and its first write.
it('no write fails while another program commits all the time', async () => {
  const { url } = await here.worker();
  const rest = restOf(url);
  let over = false;
  const other = (async () => {
    for (let i = 0; !over; i += 1)
      await here.sql(
        Array.from(
          { length: 50 },
          (_, n) => `UPDATE history SET name = 'other ${i} ${n}' WHERE id = 2;`,
        ).join('\n'),
      );
  })();
  const answers = [];
  for (let i = 0; i < 20; i += 1) {
    answers.push(
      ...(await Promise.all(
        Array.from({ length: 5 }, (_, n) =>
          rest('POST', '/api/histories', { as: 'alice', body: { name: `mine ${i} ${n}` } }),
        ),
      )),
    );
  }
  over = true;
  await other;
  expect(answers.filter(({ status }) => status !== 200)).toEqual([]);
  expect(await here.sql("SELECT count(*) AS n FROM history WHERE name LIKE 'mine %'")).toEqual([{ n: 100 }]);
}, 60_000);

// XRPLF/rippled#5102, plexidev/quick.db#210: "database or disk is full": the program ends, or goes on as if it had written.
it('a disk that is full refuses writes with a reason, tells nothing of them, and is all that it costs', async () => {
  const { url, worker } = await here.worker();
  const rest = restOf(url);
  const stream = await here.stream(url);
  const { database } = worker as unknown as { database: Database };
  const limit = (pages: number) =>
    database.transaction((tx) => tx.all<{ page_count: number }>(`PRAGMA max_page_count = ${pages}`));
  // Less than it has counts as what it has.
  await limit(1);
  const create = () => rest('POST', '/api/histories', { as: 'alice', body: { name: 'x'.repeat(200) } });
  const refused = await eventually(async () => [await create()].find(({ status }) => status !== 200));
  expect(refused).toMatchObject({ status: 503, body: { err_code: 500001 } });
  expect((await rest('GET', '/api/histories', { as: 'alice' })).status).toBe(200);
  await limit(1_000_000);
  const { status, body } = await create();
  expect(status).toBe(200);
  await stream.waitForHistory(body.id);
});
