/** What stalls or is sent again behind the status page, and what was reported of the like elsewhere. */
import { createServer, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { WorkerClusterSource } from '../../src/app/cluster/cluster-source.js';
import { decodeNotice, encodeNotice } from '../../src/bus/wire/codec.js';
import type { ConnectionManager } from '../../src/connections/manager.js';
import { TabRegistry } from '../../src/connections/tabs/registry.js';
import type { Principal } from '../../src/core/events.js';
import type { Notice } from '../../src/core/notices.js';
import type { ClusterSource, HistoryBucket } from '../../src/http/routes/cluster-source.js';
import { StatusWatchers } from '../../src/http/routes/status-watchers.js';
import { Batcher } from '../../src/lib/batcher.js';
import { systemClock } from '../../src/lib/clock.js';
import { amqpBus } from '../support/bus.js';
import { startRabbit } from '../support/rabbitmq.js';

const SECRET = 'of this installation';

describe('a status page whose reader has stalled', () => {
  // HenryLach/taskplane#664: a dashboard's event stream to a laptop that sleeps is never closed, and fills memory for 39 hours.
  let server: Server | undefined;
  let socket: Socket | undefined;
  afterEach(() => {
    socket?.destroy();
    server?.closeAllConnections();
    server?.close();
  });

  it('gives its place up after half a minute, and holds no more than its socket does', async () => {
    let tick: ((bucket: HistoryBucket | undefined) => void) | undefined;
    const text = 'x'.repeat(1024 * 1024);
    const source = {
      now: () => ({ self: text, processes: [], refusals: [] }),
      history: () => ({ bucket_seconds: 5, buckets: [] }),
      onSecond: (listener: typeof tick) => {
        tick = listener;
        return () => {
          tick = undefined;
        };
      },
    } as unknown as ClusterSource;
    const admin: Principal = {
      userId: 1,
      sessionId: undefined,
      isAdmin: true,
      credential: { kind: 'bootstrap_key' },
    };
    const watchers = new StatusWatchers(source, { recheck: async () => new Set([admin]) });
    let response: ServerResponse | undefined;
    server = createServer((_, it) => {
      response = it;
      watchers.begin(admin, it);
    });
    await new Promise<void>((resolve) => server!.listen(0, '127.0.0.1', resolve));
    socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
    socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    socket.pause();
    await vi.waitFor(() => expect(tick).toBeDefined());
    // Until the kernel takes no more.
    await vi.waitFor(() => {
      tick!(undefined);
      expect(response!.writableNeedDrain).toBe(true);
    });
    const held = response!.writableLength;
    for (let second = 0; second < 35 && tick; second += 1) tick(undefined);
    expect(response!.writableLength).toBeLessThanOrEqual(held);
    expect(response!.destroyed).toBe(true);
    await vi.waitFor(() => expect(tick).toBeUndefined());
  });
});

describe('notices that somebody keeps and sends again', () => {
  // Found by reading: what is signed and has no time can be sent again for ever, by anybody with a broker account.
  const notice: Notice = { notice: 'close_stream', process: 'main.1@host/1.5', id: 7 };

  it('are refused after a minute, and so are those of a host whose clock is as far off', () => {
    const body = encodeNotice(notice, SECRET, 100_000);
    expect(decodeNotice(body, SECRET, 159_000)).toEqual({ ok: true, notice });
    expect(decodeNotice(body, SECRET, 161_000)).toMatchObject({ ok: false, reason: 'stale_notice' });
    expect(decodeNotice(body, SECRET, 39_000)).toMatchObject({ ok: false, reason: 'stale_notice' });
    const later = Buffer.from(body.toString().replace('"at":100000', '"at":160000'));
    expect(decodeNotice(later, SECRET, 160_000)).toMatchObject({ ok: false, reason: 'forged_notice' });
  });

  it('make a worker look at its streams once, however often a question comes', () => {
    const sent: Notice[] = [];
    const manager = { registry: new TabRegistry() } as unknown as ConnectionManager;
    const source = new WorkerClusterSource({
      clock: systemClock,
      manager,
      key: () => 'self',
      bus: { publishNotice: async (it) => void sent.push(it) },
    });
    for (let i = 0; i < 1_000; i += 1) {
      source.onNotice({ notice: 'ask_streams', question: 'q', streams: { limit: 50 } });
    }
    expect(sent).toEqual([{ notice: 'streams', question: 'q', process: 'self', total: 0, streams: [] }]);
  });
});

describe('notices while the broker takes no messages', () => {
  // amqp-node/amqplib#321: publishes that a memory alarm holds back are never answered, and pile up one after the other.
  it('are refused at once, and neither pile up nor end the connection', async () => {
    const rabbit = await startRabbit();
    const { bus, lines } = amqpBus(rabbit.amqpUrl, { publishesOnly: true });
    try {
      await bus.start();
      const notice: Notice = { notice: 'close_stream', process: 'p', id: 1 };
      await bus.publishNotice(notice);
      await rabbit.setMemoryAlarm(true);
      await vi.waitFor(
        async () => expect(await bus.publishNotice(notice).catch(({ message }) => message)).toMatch(/alarm/),
        { timeout: 10_000, interval: 200 },
      );
      const begun = performance.now();
      for (let i = 0; i < 100; i += 1) await expect(bus.publishNotice(notice)).rejects.toThrow(/alarm/);
      expect(performance.now() - begun).toBeLessThan(1_000);
      await rabbit.setMemoryAlarm(false);
      await vi.waitFor(() => bus.publishNotice(notice), { timeout: 10_000, interval: 200 });
      expect(lines.filter(({ msg }) => msg === 'connected to the broker')).toHaveLength(1);
    } finally {
      await bus.stop();
      await rabbit.stop();
    }
  });
});

describe('a wait whose end has passed', () => {
  // isaacs/ttlcache#33: Node.js 24 warns of a negative delay, in the middle of an administrator's log.
  it('is no negative delay', async () => {
    const warnings: string[] = [];
    const note = ({ name }: Error): void => void warnings.push(name);
    process.on('warning', note);
    let [now, step] = [0, 0];
    const batcher = new Batcher<number, number>({
      burst: 1,
      perSecond: 1 / 3600,
      maxBatch: 10,
      worthwhile: 10,
      untilPause: true,
      clock: {
        monotonic: () => {
          now += step;
          return now;
        },
      },
      ask: async (questions) => questions,
    });
    await batcher.get(0);
    const answers = [batcher.get(1), batcher.get(2), batcher.get(3)];
    // From here on the process stands still for a second between two looks at the clock.
    step = 1_000;
    await Promise.all(answers);
    await new Promise(setImmediate);
    process.off('warning', note);
    expect(warnings).toEqual([]);
  });
});
