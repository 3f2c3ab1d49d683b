/** The same promises for both ways of writing to a socket: past its stream and through it. */
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { PassThrough } from 'node:stream';
import { connect as connectTls } from 'node:tls';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Tab } from '../../src/connections/tabs/tab.js';
import { endBody } from '../../src/connections/writing/body.js';
import { TabWriter } from '../../src/connections/writing/tab-writer.js';
import { EventId, eventFrame, type Frame } from '../../src/events/frame.js';
import { findDirectWrites } from '../../src/node-internals/direct-writes.js';
import { eventually } from '../support/databases.js';

const QUEUE = 1000;
const FIRST = 'first';
let server: Server;
let peers: Peer[];

/** A connection: our socket, and a client that reads nothing until it is told to. */
class Peer {
  readonly errors: Error[] = [];
  private readonly received: Buffer[] = [];

  private constructor(
    readonly socket: Socket,
    readonly client: Socket,
  ) {
    socket.on('error', (error) => this.errors.push(error)).resume();
    client.on('error', () => {}).on('data', (bytes) => this.received.push(bytes));
    client.pause();
    peers.push(this);
  }

  static async connect(): Promise<Peer> {
    const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve));
    const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
    return new Peer(await accepted, client);
  }

  get text(): string {
    return Buffer.concat(this.received).toString('latin1');
  }

  /** Of the frames that arrived. */
  get numbers(): number[] {
    return [...this.text.matchAll(/"number":(\d+),"filler":"x{8000}"/g)].map((match) => Number(match[1]));
  }

  async gets(count: number): Promise<void> {
    await eventually(() => this.numbers.length >= count, { what: `${count} frames` });
    expect(this.numbers).toEqual(Array.from({ length: count }, (_, number) => number));
  }
}

beforeEach(async () => {
  peers = [];
  server = createServer({ allowHalfOpen: true });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
afterEach(async () => {
  for (const { client, socket } of peers) {
    client.destroy();
    socket.destroy();
  }
  await new Promise((resolve) => server.close(resolve));
});

const frame = (number: number): Frame =>
  eventFrame('broadcast_update', JSON.stringify({ number, filler: 'x'.repeat(8000) }), new EventId(number));
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
/** Only a write can tell then that the connection is broken. */
const stopReading = ({ socket }: Peer): void => {
  (socket as unknown as { _handle: { readStop(): void } })._handle.readStop();
};
const collectGarbage = (): void => {
  setFlagsFromString('--expose-gc');
  runInNewContext('gc')();
  // Over what was freed.
  for (let i = 0; i < 1000; i += 1) Buffer.alloc(9000, 'y');
};

describe.each(['past its stream', 'through its stream'])('a socket that is written to %s', (way) => {
  let writer: TabWriter;
  let resumable: Tab[];
  let peer: Peer;
  let tab: Tab;

  beforeEach(async () => {
    resumable = [];
    writer = new TabWriter(
      QUEUE,
      (it) => resumable.push(it),
      (_, error) => {
        throw error;
      },
      way === 'past its stream' ? findDirectWrites() : undefined,
    );
    peer = await Peer.connect();
    tab = open(peer);
  });

  const open = ({ socket }: Peer): Tab => {
    const principal = {
      userId: 1,
      sessionId: undefined,
      isAdmin: false,
      credential: { kind: 'none' },
    } as const;
    const opened = new Tab(socket, true, principal, new EventId(0), undefined);
    writer.begin(opened, FIRST);
    expect(opened.handle !== undefined).toBe(way === 'past its stream');
    socket.on('drain', () => writer.onWritable(opened));
    return opened;
  };

  /** @returns the number of frames that were put */
  const putUntilBlocked = async (it = tab): Promise<number> => {
    let put = 0;
    while (it.state === 'live' && put < 10_000) {
      writer.put(it, frame(put++));
      await turn();
    }
    expect(it.state).toBe('blocked');
    return put;
  };

  it('gets everything in order, though its peer read nothing for a while', async () => {
    let put = await putUntilBlocked();
    // Nobody but Node holds the bytes that are on their way.
    collectGarbage();
    for (const end = put + 10; put < end; ) writer.put(tab, frame(put++));
    peer.client.resume();
    await peer.gets(put);
    expect(peer.text.startsWith(FIRST)).toBe(true);
    expect(tab.state).toBe('live');
    writer.put(tab, frame(put));
    await peer.gets(put + 1);
    expect(peer.errors).toEqual([]);
  });

  it('has bytes of its own on their way, beside those of others', async () => {
    const others = [await Peer.connect(), await Peer.connect()];
    const othersTabs = others.map(open);
    const puts = [
      await putUntilBlocked(),
      ...(await Promise.all(othersTabs.map((it) => putUntilBlocked(it)))),
    ];
    for (const { client } of [peer, ...others]) client.resume();
    for (const [index, it] of [peer, ...others].entries()) await it.gets(puts[index]!);
    await eventually(() => [tab, ...othersTabs].every(({ state }) => state === 'live'), {
      what: 'live tabs',
    });
  });

  it('keeps the order when it fills up again and again', async () => {
    const total = 3000;
    const { client } = peer;
    for (let put = 0; put < total; put += 1) {
      writer.put(tab, frame(put));
      if (put % 10 === 0) await turn();
      if (put % 300 === 0) client.resume();
      if (put % 300 === 150) client.pause();
      if (tab.state === 'blocked' && (tab.queue?.size ?? 0) > QUEUE / 2) {
        client.resume();
        await eventually(() => tab.state === 'live', { what: 'room' });
      }
    }
    client.resume();
    await peer.gets(total);
    expect(resumable).toEqual([]);
  });

  it('gets what was handed over before its body ends', async () => {
    const put = await putUntilBlocked();
    endBody(tab);
    peer.client.resume();
    await new Promise((resolve) => peer.client.once('end', resolve));
    await peer.gets(put);
    expect(peer.text.endsWith('0\r\n\r\n')).toBe(true);
    await eventually(() => peer.socket.destroyed, { what: 'the end of the socket' });
    expect(peer.errors).toEqual([]);
  });

  it('is caught up once it takes bytes, when more came than can wait', async () => {
    const put = await putUntilBlocked();
    for (let more = put; tab.state === 'blocked'; more += 1) writer.put(tab, frame(more));
    expect(tab.state).toBe('lagging');
    peer.client.resume();
    await eventually(() => resumable.length > 0, { what: 'a call to catch it up' });
    expect(resumable).toEqual([tab]);
    await peer.gets(put);
    expect(tab.eventId.cursor).toBe(put - 1);
  });

  it('closes with an error when its peer resets the connection with bytes on their way', async () => {
    await putUntilBlocked();
    stopReading(peer);
    peer.client.resetAndDestroy();
    await eventually(() => peer.socket.destroyed, { what: 'the end of the socket' });
    await turn();
    expect(peer.errors).toHaveLength(1);
    expect(tab.state).toBe('blocked');
    expect(resumable).toEqual([]);
  });

  it('closes when its peer reset the connection and only a write can tell', async () => {
    stopReading(peer);
    peer.client.resetAndDestroy();
    for (let put = 0; !peer.socket.destroyed && put < 10_000; put += 1) {
      writer.put(tab, frame(put));
      await turn();
    }
    expect(peer.socket.destroyed).toBe(true);
  });

  it('takes no harm from a write after its end', async () => {
    peer.socket.destroy();
    for (let put = 0; put < 3; put += 1) {
      writer.put(tab, frame(put));
      await turn();
    }
    expect(peer.errors).toEqual([]);
    expect(resumable).toEqual([]);
  });
});

describe('what is written to through its stream', () => {
  const { handleOf } = findDirectWrites()!(() => {});
  let peer: Peer;

  beforeEach(async () => {
    peer = await Peer.connect();
    expect(handleOf(peer.socket)).toBeDefined();
  });

  it('is anything but a plain socket', () => {
    expect(handleOf(new PassThrough())).toBeUndefined();
    const tls = connectTls({ socket: peer.client }).on('error', () => {});
    expect(handleOf(tls)).toBeUndefined();
    tls.destroy();
  });

  it('is a socket with bytes of its own, which would be overtaken', () => {
    while (peer.socket.writableLength === 0) peer.socket.write('x'.repeat(100_000));
    expect(handleOf(peer.socket)).toBeUndefined();
  });

  it('is a socket that is closed', () => {
    peer.socket.destroy();
    expect(handleOf(peer.socket)).toBeUndefined();
  });

  const forbidden = (): never => {
    throw new Error('Access to this API has been restricted');
  };
  it.each([
    ['forbids its bindings', forbidden],
    ['has others', () => ({ WriteWrap: class {} })],
  ])('is every socket where Node %s', async (_, binding) => {
    const spy = vi
      .spyOn(process as unknown as { binding: () => unknown }, 'binding')
      .mockImplementation(binding);
    try {
      expect(findDirectWrites()).toBeUndefined();
      expect(spy).toHaveBeenCalled();
    } finally {
      spy.mockRestore();
    }
  });
});
