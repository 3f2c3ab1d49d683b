import { afterAll, afterEach, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import { amqpBus, broadcast, type TestBus, tick } from '../support/bus.js';
import { createVhost, type Rabbit, startRabbit, type Vhost } from '../support/rabbitmq.js';

let rabbit: Rabbit;
let vhost: Vhost;
let test: TestBus;

beforeAll(async () => {
  rabbit = await startRabbit();
});
afterAll(async () => {
  await rabbit.stop();
});
beforeEach(async () => {
  vhost = await createVhost(rabbit);
  test = amqpBus(vhost.amqpUrl);
  await test.bus.start();
});
afterEach(async () => {
  await test.bus.stop();
  await vi.waitFor(async () => expect(await vhost.queues()).toEqual([]), { timeout: 10_000 });
  await vhost.delete();
});

it.each(['stop', 'kill'] as const)(
  'a broker that is restarted (%s) is found again within 5 s of its return',
  async (how) => {
    const { bus, recorder, lines, metrics } = test;
    await bus.publishTick(tick(1));
    await vi.waitFor(() => expect(recorder.received).toEqual([tick(1)]));
    await rabbit.halt(how);
    await vi.waitFor(() => expect(bus.available).toBe(false));
    expect(bus.subscribed).toBe(false);
    expect(bus.problem()).toContain('broker amqp://guest@127.0.0.1');
    await expect(bus.publish(broadcast('lost'))).rejects.toMatchObject({ code: 'BUS_UNAVAILABLE' });
    expect(metrics.total('galaxy.sse.dispatch.skipped_no_qw')).toBe(1);

    await rabbit.resume();
    await vi.waitFor(() => expect(bus.available).toBe(true), { timeout: 5_000, interval: 20 });
    await bus.publish(broadcast('{}'));
    await vi.waitFor(() => expect(recorder.received).toEqual([tick(1), 'reconnected', broadcast('{}')]));
    // A few lines for the whole outage, not one per attempt.
    expect(lines.length).toBeLessThan(10);
  },
);

it('while the broker takes no messages (memory alarm), publishing fails at once, and works when it is over', async () => {
  const { bus, recorder } = test;
  await rabbit.setMemoryAlarm(true);
  try {
    // The broker blocks whoever publishes during the alarm; the first one is answered with the news.
    await expect(bus.publish(broadcast('1'))).rejects.toThrow('alarm');
    expect(bus.available).toBe(false);
    expect(bus.subscribed).toBe(true);
    const startedAt = performance.now();
    await expect(bus.publish(broadcast('2'))).rejects.toThrow('alarm');
    expect(performance.now() - startedAt).toBeLessThan(100);
    expect(bus.problem()).toContain('alarm');
  } finally {
    await rabbit.setMemoryAlarm(false);
  }
  await vi.waitFor(() => expect(bus.available).toBe(true), { timeout: 5_000 });
  await bus.publish(broadcast('3'));
  // The first may come late, as a duplicate of what its caller sends again; the second was never sent.
  await vi.waitFor(() => expect(recorder.received).toContainEqual(broadcast('3')));
  expect(recorder.received).not.toContainEqual(broadcast('2'));
});

it('a bus can be stopped while the broker takes no messages', async () => {
  await rabbit.setMemoryAlarm(true);
  try {
    await expect(test.bus.publish(broadcast('1'))).rejects.toThrow('alarm');
    await test.bus.stop();
  } finally {
    await rabbit.setMemoryAlarm(false);
  }
});

it('a queue that somebody deletes is made anew, and the gap is told', async () => {
  const { bus, recorder, lines } = test;
  const [queue] = await vhost.queues();
  await rabbit.ctl('delete_queue', '-p', vhost.name, String(queue?.name));
  await vi.waitFor(() => expect(recorder.received).toEqual(['reconnected']), { timeout: 5_000 });
  await bus.publish(broadcast('{}'));
  await vi.waitFor(() => expect(recorder.received).toEqual(['reconnected', broadcast('{}')]));
  expect(JSON.stringify(lines)).toContain('the queue was deleted');
});
