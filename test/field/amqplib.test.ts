/** What other people's programs met with amqplib. Each test names its report. */
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { amqpBus, broadcast, type TestBus } from '../support/bus.js';
import { createVhost, type Vhost } from '../support/rabbitmq.js';
import { sharedService } from '../support/services.js';
import { TcpProxy } from '../support/tcp-proxy.js';

let vhost: Vhost;
let proxy: TcpProxy;
const open: TestBus[] = [];

beforeEach(async () => {
  vhost = await createVhost(await sharedService('rabbitmq'));
  proxy = await TcpProxy.to(vhost.amqpUrl);
});
afterEach(async () => {
  for (const { bus } of open.splice(0)) await bus.stop();
  await proxy.close();
  await vi.waitFor(async () => expect(await vhost.queues()).toEqual([]), { timeout: 10_000, interval: 100 });
  await vhost.delete();
});

async function started(options: Parameters<typeof amqpBus>[1] = {}): Promise<TestBus> {
  const test = amqpBus(proxy.through(vhost.amqpUrl), options);
  open.push(test);
  await test.bus.start();
  return test;
}

// amqp-node/amqplib#191, #846: when channel or connection ends, the callback of a confirm is not always called.
it.each([
  ['the connection is cut', async () => proxy.cut()],
  ['the channel is closed by the broker', () => vhost.deleteExchange('galaxy_core_exchange')],
])('every publish that is in flight ends when %s', async (_what, end) => {
  const { bus } = await started({ publishesOnly: true });
  const outcomes: string[] = [];
  const publish = (i: number): void => {
    bus.publish(broadcast(`${i}`)).then(
      () => outcomes.push('published'),
      ({ code }) => outcomes.push(code),
    );
  };
  for (let i = 0; i < 200; i += 1) publish(i);
  await end();
  for (let i = 0; i < 200; i += 1) publish(i);
  await vi.waitFor(() => expect(outcomes).toHaveLength(400), { timeout: 5_000 });
  expect(new Set(outcomes)).toContain('BUS_UNAVAILABLE');
  await vi.waitFor(() => expect(bus.available).toBe(true), { timeout: 5_000 });
  await bus.publish(broadcast('{}'));
});

// amqp-node/amqplib#419, #530: a publish on a connection whose cable is pulled neither works nor fails.
it('a publish on a way that went silent fails within its deadline', async () => {
  const { bus } = await started({ publishesOnly: true });
  proxy.goSilent();
  const at = performance.now();
  await expect(bus.publish(broadcast('{}'))).rejects.toMatchObject({ code: 'BUS_UNAVAILABLE' });
  expect(performance.now() - at).toBeLessThan(4_000);
});

// amqp-node/amqplib#383: after some days nothing is published or consumed any more, and there is no error.
it('a consumer that nothing reaches any more comes back by itself, and the log says so', async () => {
  const { bus, recorder, lines } = await started();
  proxy.goSilent();
  await proxy.resume();
  await vi.waitFor(() => expect(recorder.received).toEqual(['reconnected']), {
    timeout: 8_000,
    interval: 50,
  });
  // It is back for a moment before it has heard itself.
  await vi.waitFor(() => expect(bus.available).toBe(true), { timeout: 5_000 });
  await bus.publish(broadcast('{}'));
  await vi.waitFor(() => expect(recorder.received).toContainEqual(broadcast('{}')));
  expect(lines.filter(({ level }) => Number(level) >= 40).length).toBeGreaterThan(0);
});

// amqp-node/amqplib#842: each publish on a closed channel left its callback behind, for ever.
it('what cannot be published leaves nothing behind', async () => {
  const { bus } = await started({ publishesOnly: true });
  await proxy.refuse();
  proxy.cut();
  await vi.waitFor(() => expect(bus.available).toBe(false), { timeout: 5_000 });
  const payload = 'x'.repeat(10_000);
  const fail = async (times: number): Promise<void> => {
    for (let i = 0; i < times; i += 1) await bus.publish(broadcast(payload)).catch(() => {});
  };
  await fail(200);
  const before = process.memoryUsage().rss;
  await fail(20_000);
  // Kept, they would be 200 MB.
  expect(process.memoryUsage().rss - before).toBeLessThan(100 * 1024 * 1024);
  await proxy.resume();
});

// amqp-node/amqplib#557: a heartbeat that is missed is an 'error' event, which nobody listens to, and the process dies.
it('a connection that misses its heartbeats is no uncaught error', async () => {
  const uncaught = vi.fn();
  process.on('uncaughtException', uncaught);
  try {
    const { bus } = await started({ publishesOnly: true });
    proxy.goSilent();
    await vi.waitFor(() => expect(bus.available).toBe(false), { timeout: 12_000, interval: 50 });
    await proxy.resume();
    await vi.waitFor(() => expect(bus.available).toBe(true), { timeout: 8_000, interval: 50 });
    expect(uncaught).not.toHaveBeenCalled();
  } finally {
    process.off('uncaughtException', uncaught);
  }
});
