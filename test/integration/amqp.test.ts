import { type ChannelModel, type ConsumeMessage, connect } from 'amqplib';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { systemClock } from '../../src/lib/clock.js';
import { amqpBus, broadcast, type TestBus, tick } from '../support/bus.js';
import { publishAsGalaxy, receiveAsGalaxy } from '../support/kombu.js';
import { createVhost, type Vhost } from '../support/rabbitmq.js';
import { sharedService } from '../support/services.js';
import { TcpProxy } from '../support/tcp-proxy.js';

let vhost: Vhost;
const open: { close(): Promise<unknown> }[] = [];

beforeEach(async () => {
  vhost = await createVhost(await sharedService('rabbitmq'));
});
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close();
  // Whatever a test did: no queue outlives its bus.
  await vi.waitFor(async () => expect(await vhost.queues()).toEqual([]), { timeout: 10_000, interval: 100 });
  await vhost.delete();
});

function create(options: Parameters<typeof amqpBus>[1] = {}, url = vhost.amqpUrl): TestBus {
  const test = amqpBus(url, options);
  open.push({ close: () => test.bus.stop() });
  return test;
}

async function started(...args: Parameters<typeof create>): Promise<TestBus> {
  const test = create(...args);
  await test.bus.start();
  return test;
}

async function proxied(): Promise<{ proxy: TcpProxy; url: string }> {
  const proxy = await TcpProxy.to(vhost.amqpUrl);
  open.push(proxy);
  return { proxy, url: proxy.through(vhost.amqpUrl) };
}

/** A peer that knows nothing of our code. */
async function rawConnection(): Promise<ChannelModel> {
  const connection = await connect(vhost.amqpUrl);
  open.push(connection);
  return connection;
}

describe('the topology', () => {
  it("is Galaxy's exchange, and one queue of the worker's own with one binding for everything", async () => {
    await started();
    expect(
      (await vhost.exchanges()).map(({ name, type, durable, auto_delete, internal, arguments: args }) => ({
        name,
        type,
        durable,
        auto_delete,
        internal,
        args,
      })),
    ).toEqual([
      {
        name: 'galaxy_core_exchange',
        type: 'topic',
        durable: true,
        auto_delete: false,
        internal: false,
        args: {},
      },
    ]);
    const [queue, ...others] = await vhost.queues();
    expect(others).toEqual([]);
    expect(queue).toMatchObject({
      durable: false,
      exclusive: true,
      auto_delete: true,
      arguments: { 'x-message-ttl': 10_000, 'x-max-length': 100_000, 'x-overflow': 'drop-head' },
    });
    expect(queue?.name).toMatch(/^lightcone\.main\.1\./);
    expect((await vhost.bindings()).map((binding) => `${binding.source} ${binding.routing_key}`)).toEqual([
      'galaxy_core_exchange #',
    ]);
  });

  it('has no queue for a process that only publishes, and none after a stop', async () => {
    const { bus } = await started({ publishesOnly: true });
    await bus.publish(broadcast('{}'));
    expect(await vhost.queues()).toEqual([]);
    const worker = await started();
    expect(await vhost.queues()).toHaveLength(1);
    await worker.bus.stop();
    expect(await vhost.queues()).toEqual([]);
  });

  it('gives each of two workers each task once', async () => {
    const [one, two] = [await started(), await started({ serverName: 'main.2' })];
    await one.bus.publish(broadcast('1'));
    await two.bus.publish({ task: 'reconfigure_watcher' });
    await one.bus.publish(broadcast('2'));
    await vi.waitFor(() => {
      expect(two.recorder.received).toEqual([broadcast('1'), broadcast('2')]);
      expect(one.recorder.received).toEqual([
        broadcast('1'),
        { task: 'reconfigure_watcher' },
        broadcast('2'),
      ]);
    });
  });
});

describe('what others see of our messages', () => {
  const listen = async () => {
    const channel = await (await rawConnection()).createChannel();
    const messages: ConsumeMessage[] = [];
    const { queue } = await channel.assertQueue('', { exclusive: true, autoDelete: true });
    await channel.assertExchange('galaxy_core_exchange', 'topic', { durable: true });
    await channel.bindQueue(queue, 'galaxy_core_exchange', 'control.*');
    await channel.consume(queue, (message) => message && messages.push(message), { noAck: true });
    return messages;
  };

  it('Galaxy never receives what processes tell each other of themselves', async () => {
    const messages = await listen();
    const { bus } = await started({ publishesOnly: true });
    await bus.publishNotice({ notice: 'close_stream', process: 'main.1@host/1.5', id: 7 });
    // Queues keep the order of one publisher: had the notice come here, it would stand before the task.
    await bus.publish(broadcast('after the notice'));
    await vi.waitFor(() => expect(messages).toHaveLength(1));
    expect(messages[0]?.content.toString()).toContain('after the notice');
  });

  it('an SSE task has the properties that kombu gives a Galaxy task, and nothing else', async () => {
    const messages = await listen();
    // A whole second, which must still be written as a double.
    const clock = { ...systemClock, now: () => 1_782_909_296_000_000 };
    const { bus } = await started({ publishesOnly: true, clock });
    await bus.publish({
      task: 'history_update',
      userUpdates: new Map([[7, [42, 43]]]),
      sessionUpdates: new Map(),
      eventId: '2026-07-01T12:34:56.789012',
    });
    await vi.waitFor(() => expect(messages).toHaveLength(1));
    const [message] = messages;
    expect(message?.content.toString()).toBe(
      '{"task": "history_update", "kwargs": {"user_updates": {"7": [42, 43]}, "event_id": "2026-07-01T12:34:56.789012"}}',
    );
    expect(message?.fields).toMatchObject({ exchange: 'galaxy_core_exchange', routingKey: 'control.*' });
    expect(definedOf(message?.properties)).toEqual({
      contentType: 'application/json',
      contentEncoding: 'utf-8',
      deliveryMode: 2,
      priority: 0,
      expiration: '10000',
      headers: { epoch: 1_782_909_296 },
    });
  });

  it('"elect again" does not expire and names its sender as the one that must not run it', async () => {
    const messages = await listen();
    const { bus } = await started({ publishesOnly: true });
    await bus.publish({ task: 'reconfigure_watcher' });
    await vi.waitFor(() => expect(messages).toHaveLength(1));
    expect(messages[0]?.content.toString()).toBe(
      '{"task": "reconfigure_watcher", "kwargs": {}, "noop": "main.1"}',
    );
    expect(messages[0]?.properties.expiration).toBeUndefined();
  });

  it('a Galaxy task has that same set of properties', async () => {
    const messages = await listen();
    await publishAsGalaxy(vhost.amqpUrl, [
      { payload: { task: 'notify_broadcast', kwargs: { payload: '{}' } }, key: 'control.*', expiration: 10 },
    ]);
    await vi.waitFor(() => expect(messages).toHaveLength(1));
    // The peer's own idea of a Galaxy message: what we send must have the same set of properties.
    const properties = definedOf(messages[0]?.properties);
    expect(Object.keys(properties).sort()).toEqual(
      ['contentEncoding', 'contentType', 'deliveryMode', 'expiration', 'headers', 'priority'].sort(),
    );
    expect(properties).toMatchObject({
      expiration: '10000',
      deliveryMode: 2,
      priority: 0,
      contentEncoding: 'utf-8',
    });
  });
});

describe('a real Galaxy peer (kombu)', () => {
  it('reads our tasks, with the epoch as a float even when it is a whole second', async () => {
    const clock = { ...systemClock, now: () => 1_782_909_296_000_000 };
    const { bus } = await started({ publishesOnly: true, clock });
    const seen = await receiveAsGalaxy(vhost.amqpUrl, () =>
      bus.publish({ task: 'notify_users', userIds: [7], payload: '{"é":1}', eventId: 'e' }),
    );
    expect(seen).toEqual({
      body: { task: 'notify_users', kwargs: { user_ids: [7], payload: '{"é":1}', event_id: 'e' } },
      epoch: 1_782_909_296,
      type: 'float',
    });
  });
});

describe('messages of a real Galaxy peer (kombu)', () => {
  it('arrive by both routing keys, once each, whatever their clock says', async () => {
    const { recorder } = await started();
    await publishAsGalaxy(vhost.amqpUrl, [
      {
        payload: {
          task: 'history_update',
          kwargs: { user_updates: { '7': [42] }, event_id: 'e', new_in_27: [1] },
        },
        key: 'control.*',
        expiration: 10,
        skew: -3600,
      },
      {
        payload: { task: 'notify_users', kwargs: { user_ids: [7], payload: '{"é":1}', event_id: 'f' } },
        key: 'web.control',
      },
      { payload: { task: 'reconfigure_watcher', kwargs: {}, noop: 'main.1' }, key: 'control.*' },
      { payload: { task: 'reconfigure_watcher', kwargs: {}, noop: 'main.2' }, key: 'control.*' },
    ]);
    await vi.waitFor(() =>
      expect(recorder.received).toEqual([
        {
          task: 'history_update',
          userUpdates: new Map([[7, [42]]]),
          sessionUpdates: new Map(),
          eventId: 'e',
        },
        { task: 'notify_users', userIds: [7], payload: '{"é":1}', eventId: 'f' },
        { task: 'reconfigure_watcher' },
      ]),
    );
  });
});

describe('garbage on the exchange', () => {
  it('is counted by reason, acknowledged, logged once with its reason, and changes nothing', async () => {
    const { recorder, metrics, lines, bus } = await started();
    const channel = await (await rawConnection()).createConfirmChannel();
    const bodies = [
      'not json',
      '[]',
      '{"task":"no_such_task","kwargs":{}}',
      '{"task":"notify_users","kwargs":{"user_ids":"x"}}',
      '',
    ];
    for (const body of bodies) channel.publish('galaxy_core_exchange', 'control.*', Buffer.from(body));
    channel.publish(
      'galaxy_core_exchange',
      'control.*',
      Buffer.from('{"task":"reload_toolbox","kwargs":{}}'),
    );
    channel.publish('galaxy_core_exchange', 'lightcone.tick', Buffer.from('{"sequence":"x"}'));
    await channel.waitForConfirms();
    await bus.publish(broadcast('after'));
    await vi.waitFor(() => expect(recorder.received).toEqual([broadcast('after')]));
    expect(metrics.total('galaxy.sse.tasks.invalid')).toBe(6);
    expect(metrics.total('galaxy.sse.tasks.invalid', { reason: 'not_json' })).toBe(2);
    expect(metrics.total('galaxy.sse.tasks.invalid', { reason: 'malformed' })).toBe(1);
    expect(metrics.total('galaxy.sse.tasks.invalid', { reason: 'malformed_tick' })).toBe(1);
    const warnings = lines.filter((line) => line.level === 40);
    expect(warnings.map((line) => line.reason)).toEqual([
      'not_json',
      'not_object',
      'unknown_task',
      'malformed',
      'malformed_tick',
    ]);
    expect(warnings[0]).toMatchObject({ msg: 'message on the bus ignored' });
  });
});

describe('a broker that is not as it should be', () => {
  it('that is late is waited for, with one line that says where and why, without the password', async () => {
    const { proxy, url } = await proxied();
    await proxy.refuse();
    const { bus, lines } = create({}, url);
    const starting = bus.start();
    await vi.waitFor(() => expect(bus.problem()).toContain('ECONNREFUSED'));
    await vi.waitFor(() => expect(lines).toHaveLength(1));
    await expect(bus.publish(broadcast('{}'))).rejects.toMatchObject({ code: 'BUS_UNAVAILABLE' });
    await proxy.resume();
    await starting;
    expect(bus.problem()).toBeUndefined();
    expect(lines.map((line) => line.msg)).toEqual([
      'broker unreachable: retrying until it is back',
      'connected to the broker',
    ]);
    expect(JSON.stringify(lines)).toContain(`127.0.0.1:${proxy.port}`);
    expect(JSON.stringify(lines)).not.toContain('guest:guest');
  });

  it.each([
    [
      'a wrong password',
      'the broker refuses the user or the password',
      (url: URL) => {
        url.password = 'wr0ng';
      },
    ],
    [
      'a virtual host that is not there',
      'the broker refuses the virtual host',
      (url: URL) => {
        url.pathname = '/nowhere';
      },
    ],
  ])('%s is said clearly, and a start can be aborted meanwhile', async (_what, message, spoil) => {
    const url = new URL(vhost.amqpUrl);
    spoil(url);
    const { bus, lines } = create({}, url.href);
    const abort = new AbortController();
    const starting = bus.start(abort.signal);
    await vi.waitFor(() => expect(bus.problem()).toContain(message), { timeout: 5_000 });
    expect(JSON.stringify(lines)).not.toContain('wr0ng');
    abort.abort(new Error('enough'));
    await expect(starting).rejects.toThrow('enough');
    expect(bus.available).toBe(false);
  });

  it('with an exchange of another type under our name gets a line that says so, until it is mended', async () => {
    const channel = await (await rawConnection()).createChannel();
    await channel.assertExchange('galaxy_core_exchange', 'direct', { durable: true });
    const { bus } = create();
    const starting = bus.start();
    await vi.waitFor(() => expect(bus.problem()).toContain('other properties'), { timeout: 5_000 });
    await channel.deleteExchange('galaxy_core_exchange');
    await starting;
    expect(bus.subscribed).toBe(true);
  });

  it('that accepts and says nothing does not hold a stop', async () => {
    const { proxy, url } = await proxied();
    proxy.goSilent();
    const { bus } = create({}, url);
    const starting = bus.start();
    starting.catch(() => {});
    await vi.waitFor(() => expect(proxy.connections).toBe(1));
    await bus.stop();
    await expect(starting).rejects.toThrow('stopped');
    await vi.waitFor(() => expect(proxy.connections).toBe(0));
  });
});

describe('a connection that is lost', () => {
  it('comes back by itself, tells of the gap before anything else, and works as before', async () => {
    const { bus, recorder } = await started();
    const available = vi.fn();
    bus.onAvailable(available);
    await bus.publishTick(tick(1));
    await vi.waitFor(() => expect(recorder.received).toEqual([tick(1)]));
    await vi.waitFor(async () => expect(await vhost.closeConnections()).toBe(1), { timeout: 5_000 });
    await vi.waitFor(() => expect(available).toHaveBeenCalledTimes(1), { timeout: 5_000 });
    await bus.publishTick(tick(5));
    await bus.publish(broadcast('{}'));
    await vi.waitFor(() =>
      expect(recorder.received).toEqual([tick(1), 'reconnected', tick(5), broadcast('{}')]),
    );
  });

  it('rejects what was in flight', async () => {
    const { proxy, url } = await proxied();
    const { bus, metrics } = await started({}, url);
    proxy.goSilent();
    const publishing = bus.publish(broadcast('{}'));
    publishing.catch(() => {});
    setTimeout(() => proxy.cut(), 50);
    await expect(publishing).rejects.toMatchObject({ code: 'BUS_UNAVAILABLE' });
    expect(metrics.total('galaxy.sse.dispatch.skipped_no_qw')).toBe(1);
    expect(metrics.total('galaxy.sse.dispatch.latency_ms')).toBe(1);
  });

  it('half-open, is found by a question that it does not answer, and replaced', async () => {
    const { proxy, url } = await proxied();
    const { bus, recorder } = await started({}, url);
    proxy.goSilent();
    await proxy.resume();
    const silentAt = performance.now();
    await vi.waitFor(() => expect(recorder.received).toEqual(['reconnected']), {
      timeout: 15_000,
      interval: 50,
    });
    expect(performance.now() - silentAt).toBeLessThan(4_500);
    expect(bus.subscribed).toBe(true);
    // The silent socket is gone, not waiting for the kernel to give up.
    await vi.waitFor(() => expect(proxy.connections).toBe(1));
  });

  it('half-open, is found sooner by a publish that is not confirmed', async () => {
    const { proxy, url } = await proxied();
    const { bus } = await started({}, url);
    proxy.goSilent();
    await proxy.resume();
    await expect(bus.publish(broadcast('{}'))).rejects.toMatchObject({ code: 'BUS_UNAVAILABLE' });
    await vi.waitFor(() => expect(bus.available).toBe(true), { timeout: 5_000 });
    await bus.publish(broadcast('{}'));
  });
});

describe('a worker that was stopped for longer than half the life of a task', () => {
  it('tells of the gap by its own clock', async () => {
    let pause = 0;
    const clock = { ...systemClock, monotonic: () => performance.now() + pause };
    const { recorder } = await started({ clock });
    pause = 5_100;
    await vi.waitFor(() => expect(recorder.received).toEqual(['frozen']), { timeout: 3_000 });
  });
});

const definedOf = (properties: object | undefined): Record<string, unknown> =>
  Object.fromEntries(Object.entries(properties ?? {}).filter(([, value]) => value !== undefined));
