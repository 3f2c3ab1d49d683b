/** What an account of the broker can do to a worker beside what stands in the body of a message (bus.test.ts). */
import { type Channel, type ChannelModel, connect, type Options } from 'amqplib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { encodeTask } from '../../src/bus/wire/codec.js';
import { DEMO, Installation, type RunningWorker } from '../support/installation.js';

const EXCHANGE = 'galaxy_core_exchange';
let here: Installation;
let worker: RunningWorker;
let stranger: ChannelModel;
beforeEach(async () => {
  here = await Installation.production();
  worker = await here.worker();
  stranger = await connect(here.vhost!.amqpUrl);
  stranger.on('error', () => {});
});
afterEach(async () => {
  await stranger.close().catch(() => {});
  await here.close();
});

const BODY = encodeTask({ task: 'notify_users', userIds: [DEMO.users.alice], payload: '{"of":"stranger"}' });

/** Bytes of a table with tables, or lists, in each other. */
function nested(depth: number, kind: 'F' | 'A'): Buffer {
  const head = kind === 'F' ? [1, 0x61, 0x46] : [0x41];
  const begin = kind === 'F' ? [] : [1, 0x61];
  const bytes = Buffer.alloc(begin.length + depth * (head.length + 4));
  bytes.set(begin);
  for (let at = begin.length; at < bytes.length; at += head.length + 4) {
    bytes.set(head, at);
    bytes.writeUInt32BE(bytes.length - at - head.length - 4, at + head.length);
  }
  return bytes;
}

/** As `basic.publish`, with headers that no library would make. */
function publishRaw(connection: ChannelModel, channel: number, headers: Buffer): void {
  const short = (text: string) => Buffer.from([text.length, ...Buffer.from(text)]);
  const number = (size: number, value: number) => {
    const bytes = Buffer.alloc(size);
    bytes.writeUIntBE(value, Math.max(0, size - 6), Math.min(6, size));
    return bytes;
  };
  const frame = (type: number, ...parts: Buffer[]) => {
    const payload = Buffer.concat(parts);
    return Buffer.concat([
      Buffer.from([type]),
      number(2, channel),
      number(4, payload.length),
      payload,
      Buffer.from([0xce]),
    ]);
  };
  const { stream } = (connection as unknown as { connection: { stream: NodeJS.WritableStream } }).connection;
  stream.write(
    Buffer.concat([
      frame(1, number(2, 60), number(2, 40), number(2, 0), short(EXCHANGE), short('control.*'), number(1, 0)),
      frame(
        2,
        number(2, 60),
        number(2, 0),
        number(8, BODY.length),
        number(2, 0xa000),
        short('application/json'),
        number(4, headers.length),
        headers,
      ),
      frame(3, BODY),
    ]) as unknown as string,
  );
}

async function goesOn(): Promise<void> {
  const alice = await here.stream(worker.url);
  await here.change(DEMO.histories.alice);
  await alice.waitForHistory(here.encode(DEMO.histories.alice));
  const said = worker.lines.map(({ msg }) => String(msg));
  expect(said.filter((line) => /broker unreachable|gap repaired|taken away/.test(line))).toEqual([]);
  expect((await fetch(`${worker.url}/wellz`)).status).toBe(200);
}

describe('a worker keeps its connection and tells of changes, whatever comes with a message:', () => {
  it.each([
    ['tables', 'F', 5_000],
    ['tables', 'F', 18_000],
    ['lists', 'A', 25_000],
  ] as const)('headers of %s in each other (%s, %i)', async (_, kind, depth) => {
    const alice = await here.stream(worker.url);
    const channel = await stranger.createChannel();
    for (let i = 0; i < 20; i += 1)
      publishRaw(stranger, (channel as unknown as { ch: number }).ch, nested(depth, kind));
    await channel.checkExchange(EXCHANGE);
    // They are messages like any other.
    await expect.poll(() => alice.frames.filter(({ data }) => data?.includes('stranger')).length).toBe(20);
    await goesOn();
  });

  it('properties that kombu and RabbitMQ give a meaning to: compression, encodings, retries, priority, copies', async () => {
    const alice = await here.stream(worker.url);
    const channel = await stranger.createConfirmChannel();
    const plain = { contentType: 'application/json' };
    const odd: Options.Publish[] = [
      { headers: { compression: 'application/x-gzip' } },
      {
        contentEncoding: 'utf-16',
        headers: { 'x-death': Array.from({ length: 500 }, () => ({ count: 2 ** 40 })) },
      },
      { headers: { retries: 1e9, eta: 'x', expires: '1970-01-01', task: 'os.system', __proto__x: { a: 1 } } },
      {
        priority: 255,
        expiration: '100000',
        replyTo: 'nowhere',
        correlationId: 'x',
        type: 'x',
      },
      { CC: ['lightcone.tick', 'lightcone.notice', 'lightcone.probe'], BCC: ['control.*'] },
      { headers: { long: 'x'.repeat(60_000) }, deliveryMode: 2, timestamp: 2 ** 40, appId: '\r\nx' },
    ];
    for (const options of odd) channel.publish(EXCHANGE, 'control.*', BODY, { ...plain, ...options });
    await channel.waitForConfirms();
    await expect
      .poll(() => alice.frames.filter(({ data }) => data?.includes('stranger')).length)
      .toBe(odd.length);
    await goesOn();
  });

  it.each<[string, (channel: Channel, queue: string) => Promise<unknown>]>([
    ['reads', (channel, queue) => channel.consume(queue, () => {})],
    ['fetches from', (channel, queue) => channel.get(queue)],
    ['empties', (channel, queue) => channel.purgeQueue(queue)],
    ['deletes', (channel, queue) => channel.deleteQueue(queue)],
    ['unbinds', (channel, queue) => channel.unbindQueue(queue, EXCHANGE, '#')],
    ['binds', (channel, queue) => channel.bindQueue(queue, 'amq.fanout', '')],
  ])('a stranger who %s its queue is refused', async (_, act) => {
    const [queue] = await here.vhost!.queues();
    const channel = await stranger.createChannel();
    channel.on('error', () => {});
    await expect(act(channel, queue!.name)).rejects.toThrow('RESOURCE_LOCKED');
    await goesOn();
  });
});
