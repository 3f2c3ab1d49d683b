/** What other people's programs met with better-sqlite3 and with files of SQLite. Each test names its report. */
import { copyFileSync, renameSync, rmSync } from 'node:fs';
import { afterEach, beforeEach, expect, it } from 'vitest';
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
