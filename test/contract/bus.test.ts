import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { AmqpBus, type AmqpBusOptions } from '../../src/bus/amqp.js';
import { InProcessBus } from '../../src/bus/in-process.js';
import type { Bus, BusHandler } from '../../src/bus/port.js';
import { systemClock } from '../../src/core/clock.js';
import type { ControlTask } from '../../src/core/events.js';
import { historyBucket, ownerBucket } from '../../src/core/interest.js';
import { createLogger } from '../../src/telemetry/logger.js';
import { CountingMetrics } from '../../src/telemetry/memory.js';
import { broadcast, Recorder, tick } from '../support/bus.js';
import { createVhost, type Vhost } from '../support/rabbitmq.js';
import { sharedService } from '../support/services.js';

const logger = createLogger('silent');

let vhost: Vhost;
beforeAll(async () => {
  vhost = await createVhost(await sharedService('rabbitmq'));
});
afterAll(async () => {
  await vhost.delete();
});

const amqp = (metrics: CountingMetrics, options: Partial<AmqpBusOptions> = {}): Bus =>
  new AmqpBus({
    url: vhost.amqpUrl,
    serverName: 'main.1',
    logger,
    metrics,
    clock: systemClock,
    random: Math.random,
    ...options,
  });

const BUSES: [string, (metrics: CountingMetrics) => Bus][] = [
  ['in-process', (metrics) => new InProcessBus({ logger, metrics, clock: systemClock })],
  ['amqp', amqp],
  ['amqp (with interest routing)', (metrics) => amqp(metrics, { interestRouting: true })],
];
const toUser = (userId: number): ControlTask => ({ task: 'entry_point_update', userId });
/** Whom the tasks below concern. */
const CONCERNED = [7, 8, 901].map(ownerBucket);

describe.each(BUSES)('the %s bus', (_name, create) => {
  const started: Bus[] = [];
  const open = async (handler?: BusHandler, metrics = new CountingMetrics()) => {
    const bus = create(metrics);
    started.push(bus);
    if (handler) bus.subscribe(handler);
    await bus.start();
    if (handler) expect(await bus.bind(CONCERNED)).toBe(true);
    return bus;
  };
  afterEach(async () => {
    for (const bus of started.splice(0)) await bus.stop();
  });

  it('hands on every kind of task as it was published', async () => {
    const recorder = new Recorder();
    const bus = await open(recorder);
    const tasks: ControlTask[] = [
      {
        task: 'history_update',
        userUpdates: new Map([[7, [42, 43]]]),
        sessionUpdates: new Map([[901, [44]]]),
        updateTime: 1_782_909_296_789_012,
        eventId: '2026-07-01T12:34:56.789012',
      },
      { task: 'notify_users', userIds: [7, 8], payload: '{"subject":"é\\n😀"}', eventId: 'e' },
      { task: 'notify_broadcast', payload: '{}' },
      { task: 'entry_point_update', userId: 7, sessionId: 901 },
      { task: 'subscribe_history_viewer', historyId: 'f7bb1edd6b95db62', userId: 7 },
      { task: 'unsubscribe_history_viewer', historyId: 'f7bb1edd6b95db62', sessionId: 901 },
    ];
    for (const task of tasks) await bus.publish(task);
    await vi.waitFor(() => expect(recorder.received).toEqual(tasks));
  });

  it('keeps tasks and ticks in the order in which they were published', async () => {
    const recorder = new Recorder();
    const bus = await open(recorder);
    const sent = Array.from({ length: 100 }, (_, i) =>
      i % 10 === 9 ? tick((i + 1) / 10) : broadcast(`${i}`),
    );
    await Promise.all(sent.map((what) => ('task' in what ? bus.publish(what) : bus.publishTick(what))));
    await vi.waitFor(() => expect(recorder.received).toHaveLength(100));
    expect(recorder.received).toEqual(sent);
  });

  it('never hands a task on within the call that publishes it', async () => {
    const recorder = new Recorder();
    const bus = await open(recorder);
    const published = bus.publish(broadcast('{}'));
    expect(recorder.received).toEqual([]);
    await published;
    await vi.waitFor(() => expect(recorder.received).toHaveLength(1));
  });

  it('does not hand "elect again" back to its sender', async () => {
    const recorder = new Recorder();
    const bus = await open(recorder);
    await bus.publish({ task: 'reconfigure_watcher' });
    await bus.publish(broadcast('{}'));
    await vi.waitFor(() => expect(recorder.received).toEqual([broadcast('{}')]));
  });

  it('goes on after a handler that throws', async () => {
    const recorder = new Recorder();
    const onTask = vi.spyOn(recorder, 'onTask').mockImplementationOnce(() => {
      throw new Error('a bug');
    });
    const bus = await open(recorder);
    await bus.publish(broadcast('1'));
    await bus.publish(broadcast('2'));
    await vi.waitFor(() => expect(recorder.received).toEqual([broadcast('2')]));
    expect(onTask).toHaveBeenCalledTimes(2);
  });

  it('tells of lost ticks before it hands on the tick that shows it, and of no others', async () => {
    const recorder = new Recorder();
    const bus = await open(recorder);
    const ticks = [
      tick(7),
      tick(8),
      tick(10),
      tick(11),
      tick(1, 'b'),
      tick(2, 'b'),
      tick(2, 'b'),
      tick(12),
      tick(9, 'c'),
    ];
    for (const one of ticks) await bus.publishTick(one);
    await vi.waitFor(() =>
      expect(recorder.received).toEqual([
        tick(7),
        tick(8),
        'tick_lost',
        tick(10),
        tick(11),
        tick(1, 'b'),
        tick(2, 'b'),
        tick(2, 'b'),
        tick(12),
        'tick_lost',
        tick(9, 'c'),
      ]),
    );
  });

  it('refuses to publish before the start and after the stop, and counts it', async () => {
    const metrics = new CountingMetrics();
    const bus = create(metrics);
    expect(bus.available).toBe(false);
    expect(bus.problem()).toBeTypeOf('string');
    await expect(bus.publish(broadcast('{}'))).rejects.toMatchObject({ code: 'BUS_UNAVAILABLE' });
    await bus.start();
    expect(bus.available).toBe(true);
    expect(bus.problem()).toBeUndefined();
    await bus.publish(broadcast('{}'));
    await bus.stop();
    expect(bus.available).toBe(false);
    await expect(bus.publish(broadcast('{}'))).rejects.toMatchObject({ code: 'BUS_UNAVAILABLE' });
    await expect(bus.publishTick(tick(1))).rejects.toMatchObject({ code: 'BUS_UNAVAILABLE' });
    expect(metrics.total('galaxy.sse.dispatch.skipped_no_qw')).toBe(2);
    expect(metrics.total('galaxy.sse.dispatch.count')).toBe(1);
  });

  it('counts and times what is published and counts what is received, by task', async () => {
    const metrics = new CountingMetrics();
    const bus = await open(new Recorder(), metrics);
    await bus.publish(broadcast('{}'));
    await bus.publish({ task: 'notify_users', userIds: [7], payload: '{}' });
    await vi.waitFor(() => expect(metrics.total('galaxy.sse.tasks.received')).toBe(2));
    expect(metrics.total('galaxy.sse.tasks.received', { task: 'notify_users' })).toBe(1);
    expect(metrics.total('galaxy.sse.dispatch.count', { task: 'notify_users' })).toBe(1);
    expect(metrics.total('galaxy.sse.dispatch.latency_ms', { task: 'notify_users' })).toBe(1);
  });

  it('publishes without a handler, and says that nobody is subscribed', async () => {
    const bus = await open();
    await bus.publish(broadcast('{}'));
    expect(bus.subscribed).toBe(false);
    expect((await open(new Recorder())).subscribed).toBe(true);
  });

  it('tells its listeners when it becomes available, until they leave', async () => {
    const bus = create(new CountingMetrics());
    started.push(bus);
    const listener = vi.fn();
    const gone = vi.fn();
    bus.onAvailable(listener);
    bus.onAvailable(gone)();
    await bus.start();
    expect(listener).toHaveBeenCalledTimes(1);
    expect(gone).not.toHaveBeenCalled();
  });

  it('can be started and stopped twice and at once, and started again', async () => {
    const recorder = new Recorder();
    const bus = create(new CountingMetrics());
    bus.subscribe(recorder);
    await bus.stop();
    await Promise.all([bus.start(), bus.start()]);
    await Promise.all([bus.stop(), bus.stop()]);
    expect(bus.available).toBe(false);
    await bus.start();
    started.push(bus);
    await bus.publish(broadcast('{}'));
    await vi.waitFor(() => expect(recorder.received).toEqual([broadcast('{}')]));
  });

  it('does not start when it is aborted already', async () => {
    const bus = create(new CountingMetrics());
    await expect(bus.start(AbortSignal.abort(new Error('changed my mind')))).rejects.toThrow(
      'changed my mind',
    );
    expect(bus.available).toBe(false);
  });

  it('goes on with what is bound when something else is unbound, and says when it cannot bind now', async () => {
    const recorder = new Recorder();
    const bus = await open(recorder);
    bus.unbind([ownerBucket(8)]);
    await bus.publish(toUser(7));
    await vi.waitFor(() => expect(recorder.received).toEqual([toUser(7)]));
    await bus.stop();
    expect(await bus.bind(CONCERNED)).toBe(false);
  });
});

describe('amqp with interest routing', () => {
  const started: Bus[] = [];
  afterEach(async () => {
    for (const bus of started.splice(0)) await bus.stop();
  });
  const start = async (serverName: string, interestRouting = true) => {
    const recorder = new Recorder();
    const bus = amqp(new CountingMetrics(), { serverName, interestRouting });
    bus.subscribe(recorder);
    await bus.start();
    started.push(bus);
    return { bus, recorder };
  };
  /** Everything published before it on the same channel has arrived where it has. */
  const end = broadcast('the end');
  const untilTheEnd = async (publisher: Bus, recorders: Recorder[]): Promise<ControlTask[][]> => {
    await publisher.publish(end);
    await vi.waitFor(() => {
      for (const { received } of recorders) expect(received).toContainEqual(end);
    });
    return recorders.map(({ received }) => received.slice(0, received.findIndex(isEnd)) as ControlTask[]);
  };
  const isEnd = (it: unknown): boolean => JSON.stringify(it) === JSON.stringify(end);

  it('brings a task to exactly the workers that are bound to one of its buckets, once to each', async () => {
    const [one, two, none] = [await start('main.1'), await start('main.2'), await start('main.3')];
    await one.bus.bind([ownerBucket(7), ownerBucket(8), historyBucket(42)]);
    await two.bus.bind([ownerBucket(8), ownerBucket(901)]);
    const toSession: ControlTask = { task: 'entry_point_update', sessionId: 901 };
    const toBoth: ControlTask = { task: 'notify_users', userIds: [7, 8, 9], payload: '{}' };
    const foreign: ControlTask = {
      task: 'history_update',
      userUpdates: new Map([[9, [41, 42]]]),
      sessionUpdates: new Map(),
    };
    for (const task of [toUser(7), toUser(9), toSession, toBoth, foreign]) await none.bus.publish(task);
    const got = await untilTheEnd(
      none.bus,
      [one, two, none].map(({ recorder }) => recorder),
    );
    expect(got).toEqual([[toUser(7), toBoth, foreign], [toSession, toBoth], []]);
  });

  it('stops bringing what is unbound', async () => {
    const { bus, recorder } = await start('main.1');
    await bus.bind([ownerBucket(7), ownerBucket(8)]);
    bus.unbind([ownerBucket(7)]);
    // Answered in their order: when this one is bound, the other is unbound.
    await bus.bind([ownerBucket(9)]);
    for (const id of [7, 8, 9]) await bus.publish(toUser(id));
    expect(await untilTheEnd(bus, [recorder])).toEqual([[toUser(8), toUser(9)]]);
  });

  it('brings everything to workers without it, and takes what publishers without it send', async () => {
    const [routed, plain] = [await start('main.1'), await start('main.2', false)];
    await routed.bus.publish(toUser(7));
    await plain.bus.publish(toUser(8));
    await Promise.all([routed.bus.publish(broadcast('1')), plain.bus.publish(broadcast('2'))]);
    await vi.waitFor(() => {
      expect(plain.recorder.received).toHaveLength(4);
      expect(routed.recorder.received).toHaveLength(3);
    });
    expect(routed.recorder.received).not.toContainEqual(toUser(7));
    expect(routed.recorder.received).toContainEqual(toUser(8));
  });

  it('tells everybody where a task concerns very many', async () => {
    const { bus, recorder } = await start('main.1');
    const toMany = (count: number): ControlTask => ({
      task: 'notify_users',
      userIds: Array.from({ length: count }, (_, i) => i + 1),
      payload: '{}',
    });
    await bus.publish(toMany(64));
    await bus.publish(toMany(65));
    expect(await untilTheEnd(bus, [recorder])).toEqual([[toMany(65)]]);
  });
});
