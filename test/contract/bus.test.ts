import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { AmqpBus } from '../../src/bus/amqp/bus.js';
import { InProcessBus } from '../../src/bus/in-process/bus.js';
import type { Bus, BusHandler } from '../../src/bus/port.js';
import type { ControlTask } from '../../src/core/events.js';
import type { Notice } from '../../src/core/notices.js';
import { systemClock } from '../../src/lib/clock.js';
import { CountingMetrics } from '../../src/telemetry/counting-metrics.js';
import { createLogger } from '../../src/telemetry/logger.js';
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

const BUSES: [string, (metrics: CountingMetrics) => Bus][] = [
  ['in-process', (metrics) => new InProcessBus({ logger, metrics, clock: systemClock })],
  [
    'amqp',
    (metrics) =>
      new AmqpBus({
        url: vhost.amqpUrl,
        serverName: 'main.1',
        secret: 'the secret of the contract',
        logger,
        metrics,
        clock: systemClock,
        random: Math.random,
      }),
  ],
];

describe.each(BUSES)('the %s bus', (_name, create) => {
  const started: Bus[] = [];
  const open = async (handler?: BusHandler, metrics = new CountingMetrics()) => {
    const bus = create(metrics);
    started.push(bus);
    if (handler) bus.subscribe(handler);
    await bus.start();
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

  it('hands on what processes tell of themselves, to whoever asks for it, and counts it as no task', async () => {
    const notices: Notice[] = [];
    const metrics = new CountingMetrics();
    const recorder = Object.assign(new Recorder(), { onNotice: (notice: Notice) => notices.push(notice) });
    const bus = await open(recorder, metrics);
    const sent: Notice = { notice: 'close_stream', process: 'main.1@host/1.5', id: 7 };
    await bus.publishNotice(sent);
    await vi.waitFor(() => expect(notices).toEqual([sent]));
    expect(recorder.received).toEqual([]);
    expect(metrics.total('galaxy.sse.tasks.received')).toBe(0);
    expect(metrics.total('galaxy.sse.dispatch.count')).toBe(0);
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

  it('goes on after a handler that throws, and tells of the gap', async () => {
    const recorder = new Recorder();
    const onTask = vi.spyOn(recorder, 'onTask').mockImplementationOnce(() => {
      throw new Error('a bug');
    });
    const bus = await open(recorder);
    await bus.publish(broadcast('1'));
    await bus.publish(broadcast('2'));
    await bus.publishTick(tick(1));
    await vi.waitFor(() => expect(recorder.received).toHaveLength(3));
    // Before the tick, which says that everything before it was received.
    expect(recorder.received).toEqual(['handler_failed', broadcast('2'), tick(1)]);
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
    // Nobody is subscribed: it was taken, and reached no one.
    expect(metrics.total('galaxy.sse.dispatch.unrouted')).toBe(1);
    expect(metrics.total('galaxy.sse.dispatch.count')).toBe(0);
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
});
