/** What anybody with a role of the database can NOTIFY: the monitor goes on, and a change still arrives at once. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { DEMO, Installation, type RunningWorker } from '../support/installation.js';
import { fuzz, inputs, mutate, report, TIMEOUT_MS } from './fuzz.js';

const CHANNEL = 'galaxy_history_update';
const BATCH = 500;
const FLOOD = 100_000;
let here: Installation;
let worker: RunningWorker;

beforeAll(async () => {
  here = await Installation.production();
  worker = await here.worker();
});
afterAll(() => here.close());

it(`${FLOOD} NOTIFYs of a plain role cost few statements and lines, and no event`, {
  timeout: TIMEOUT_MS,
}, async () => {
  const role = `stranger_${process.pid}`;
  const alice = await here.stream(worker.url, 'key=demo-alice');
  const bob = await here.stream(worker.url, 'key=demo-bob');
  const { database } = worker.worker as unknown as { database: { statements: number } };
  await here.sql(`CREATE ROLE ${role}`);
  const [statements, lines, begin] = [database.statements, worker.lines.length, performance.now()];
  try {
    for (let round = 0; round < 20; round += 1) {
      const first = (round * FLOOD) / 20;
      const payload = round % 2 === 0 ? 'i::text' : "'not a history ' || i";
      const flood = here.sql(
        `SET ROLE ${role}; SELECT count(pg_notify('${CHANNEL}', ${payload})) FROM generate_series(${first}, ${first + FLOOD / 20 - 1}) AS i`,
      );
      const from = alice.frames.length;
      const at = await here.change(DEMO.histories.alice);
      await alice.waitForHistory(here.encode(DEMO.histories.alice), { from });
      expect(performance.now() - at).toBeLessThan(3_000);
      await flood;
    }
  } finally {
    await here.sql(`DROP ROLE ${role}`);
  }
  const seconds = (performance.now() - begin) / 1000;
  const more = (database.statements - statements) / seconds;
  console.log(`NOTIFY flood: ${FLOOD} in ${seconds.toFixed(1)} s, ${more.toFixed(0)} statements/s`);
  expect(more).toBeLessThan(120);
  expect(worker.lines.length - lines).toBeLessThan(20);
  expect(bob.frames.filter(({ event }) => event === 'history_update')).toEqual([]);
  expect(worker.worker.leading).toBe(true);
});

it('anything that is notified is ignored, or is a hint at most', { timeout: TIMEOUT_MS }, async () => {
  const alice = await here.stream(worker.url, 'key=demo-alice');
  const bob = await here.stream(worker.url, 'key=demo-bob');
  const corpus = ['1', '2', '4', '2147483647', '9999999999', '{"history_id": 1}', '1,2,3', '-1', '1e3', ''];
  const tally = await fuzz(Math.ceil(inputs(5_000) / BATCH), async (random, seen) => {
    const payloads = Array.from({ length: BATCH }, () =>
      // What PostgreSQL itself takes: text without NUL, shorter than 8,000 bytes.
      mutate(random, corpus).replaceAll('\0', '').slice(0, 3_000),
    );
    seen(payloads);
    const json = JSON.stringify(payloads).replaceAll("'", "''");
    await here.sql(
      `SELECT count(pg_notify('${CHANNEL}', value)) FROM json_array_elements_text('${json}'::json) AS value`,
    );
    const from = alice.frames.length;
    await here.change(DEMO.histories.alice);
    await alice.waitForHistory(here.encode(DEMO.histories.alice), { from });
  });
  const ids = bob.frames.flatMap(({ event, data }) =>
    event === 'history_update' ? (JSON.parse(data!) as { history_ids: string[] }).history_ids : [],
  );
  for (const id of ids) expect(id).toBe(here.encode(DEMO.histories.bob));
  expect(worker.worker.leading).toBe(true);
  expect(worker.worker.monitorProblem).toBeUndefined();
  report('NOTIFY payloads', { ...tally, inputs: tally.inputs * BATCH });
});
