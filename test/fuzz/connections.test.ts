/**
 * Connections as no well-behaved client uses them: requests in pieces, pipelined in front of and behind a stream, with
 * everything that HTTP parsers read in two ways. No answer reaches another request, and a stream holds nothing but itself.
 */
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Installation, type RunningWorker } from '../support/installation.js';
import { fuzz, HANGS_MS, inputs, type Random, report, TIMEOUT_MS } from './fuzz.js';
import { judge, request, split } from './odd-requests.js';

let here: Installation;
beforeAll(() => {
  here = Installation.embedded();
});
afterAll(() => here.close());

/** Says it in pieces, then waits until the server has ended the connection or nothing more can come. */
async function answerTo(port: number, pieces: readonly string[], random: Random): Promise<string> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  let text = '';
  let over = false;
  socket.setEncoding('latin1').on('data', (more: string) => {
    text += more;
  });
  socket.on('error', () => {});
  const closed = new Promise<void>((resolve) => {
    socket.on('close', () => {
      over = true;
      resolve();
    });
  });
  for (const piece of pieces) {
    if (over) break;
    socket.write(piece, 'latin1');
    if (random.chance(0.3)) await sleep(1);
  }
  // A server that has read all that we say answers what it can, and ends what is not whole.
  if (random.chance(0.5)) await sleep(2);
  socket.end();
  const hangs = setTimeout(() => socket.destroy(new Error('it hangs')), HANGS_MS);
  await closed;
  clearTimeout(hangs);
  if (socket.errored?.message === 'it hangs') throw new Error(`no end; came: ${JSON.stringify(text)}`);
  return text;
}

describe.each([
  ['with internals', true],
  ['without internals', false],
])('a connection %s', (name, node_internals) => {
  let worker: RunningWorker;
  let taken = 0;
  beforeAll(async () => {
    worker = await here.worker({
      galaxy: { database_connection: `sqlite:///${node_internals}.sqlite` },
      sse: { node_internals, api_rate_limit: 0 },
    });
  });

  it('brings each answer to its request, and a stream alone', { timeout: TIMEOUT_MS }, async () => {
    const port = Number(new URL(worker.url).port);
    const { registry } = worker.worker.manager;
    const add = registry.add.bind(registry);
    registry.add = (tab) => {
      if (tab.chunked) taken += 1;
      return add(tab);
    };
    let streams = 0;
    const tally = await fuzz(
      inputs(1_500),
      async (random, seen) => {
        const said = [request(random), ...random.many(3, () => request(random))];
        const bytes = said.map((it) => it.bytes).join('');
        const pieces = random.chance(0.1) && bytes.length < 400 ? [...bytes] : split(random, bytes);
        seen(pieces);
        if (judge(said, await answerTo(port, pieces, random))) streams += 1;
      },
      { atOnce: 16, salt: node_internals ? 1 : 2 },
    );
    await expect.poll(() => registry.all.length, { timeout: 10_000 }).toBe(0);
    expect(streams).toBeGreaterThan(tally.inputs / 10);
    expect(taken > tally.inputs / 20).toBe(node_internals);
    report(`connections ${name}`, tally, `${streams} streams, ${taken} taken off the HTTP server`);
  });
});
