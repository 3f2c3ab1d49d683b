/** What administrators of a RabbitMQ set for everything on it, and what becomes of us then. Each test names its report. */
import { setTimeout as after } from 'node:timers/promises';
import { connect } from 'amqplib';
import { describe, expect, it, vi } from 'vitest';
import type { ControlTask } from '../../src/core/events.js';
import { brokerFixture } from '../support/broker-fixture.js';
import { amqpBus, broadcast, type TestBus, tick } from '../support/bus.js';
import { TcpProxy } from '../support/tcp-proxy.js';

const WITHIN = { timeout: 10_000, interval: 50 };

const broker = brokerFixture();

function create(url = broker.vhost.amqpUrl, options: Parameters<typeof amqpBus>[1] = {}): TestBus {
  const test = amqpBus(url, options);
  broker.open.push({ close: () => test.bus.stop() });
  return test;
}
async function started(url?: string, options?: Parameters<typeof amqpBus>[1]): Promise<TestBus> {
  const test = create(url, options);
  await test.bus.start();
  return test;
}
const policy = (definition: Record<string, unknown>, pattern = '.*', apply = 'queues') =>
  broker.rabbit.ctl(
    'set_policy',
    '--vhost',
    broker.vhost.name,
    '--apply-to',
    apply,
    'all',
    pattern,
    JSON.stringify(definition),
  );
const update = (history: number): ControlTask => ({
  task: 'history_update',
  userUpdates: new Map([[1, [history]]]),
  sessionUpdates: new Map(),
});
const payloads = ({ recorder }: TestBus): string[] =>
  recorder.received.flatMap((one) =>
    typeof one === 'object' && 'task' in one && one.task === 'notify_broadcast' ? [one.payload] : [],
  );

// nanit/kubernetes-rabbitmq-cluster#45, rabbitmq/rabbitmq-server#2313: a full queue drops its head, and nobody is told.
// A tick that comes after what was dropped must not vouch for it.
describe('a worker that stands still for a moment', () => {
  it.each([
    ['length', { 'max-length': 50 }],
    ['size', { 'max-length-bytes': 2_000 }],
    ['age', { 'message-ttl': 300 }],
  ])('learns that a policy of %s took messages from its queue', async (_, definition) => {
    await policy(definition);
    const proxy = await TcpProxy.to(broker.vhost.amqpUrl);
    broker.open.push(proxy);
    const worker = await started(proxy.through(broker.vhost.amqpUrl));
    const leader = await started(undefined, { publishesOnly: true, serverName: 'monitor' });
    await leader.bus.publishTick(tick(1));
    await vi.waitFor(() => expect(worker.recorder.received).toContainEqual(tick(1)), WITHIN);
    proxy.pause();
    // More than are sent ahead of an acknowledgement.
    for (let from = 0; from < 4_000; from += 500) {
      await Promise.all(Array.from({ length: 500 }, (_, n) => leader.bus.publish(update(from + n + 1))));
    }
    await after(400);
    await leader.bus.publishTick(tick(2));
    proxy.unpause();
    await vi.waitFor(() => expect(worker.recorder.received).toContainEqual(tick(2)), WITHIN);
    const { received } = worker.recorder;
    expect(received.filter((one) => typeof one === 'object' && 'task' in one).length).toBeLessThan(4_000);
    expect(received.slice(-2)).toEqual(['tick_lost', tick(2)]);
  });
});

// rabbitmq/rabbitmq-server#737, #1212: a dead-letter policy for all queues; what one worker has not read in time goes to everybody again.
it('what a policy dead-letters into our exchange is told twice at worst, and ticks stay in order', async () => {
  await policy({ 'dead-letter-exchange': 'galaxy_core_exchange', 'message-ttl': 300 });
  const proxy = await TcpProxy.to(broker.vhost.amqpUrl);
  broker.open.push(proxy);
  const slow = await started(proxy.through(broker.vhost.amqpUrl));
  const worker = await started(undefined, { serverName: 'main.2' });
  proxy.pause();
  const sent = Array.from({ length: 3_000 }, (_, n) => broadcast(`{"n":${n}}`));
  for (let i = 0; i < sent.length; i += 500) {
    await Promise.all(sent.slice(i, i + 500).map((task) => worker.bus.publish(task)));
  }
  await worker.bus.publishTick(tick(1));
  await after(1_000);
  proxy.unpause();
  await worker.bus.publishTick(tick(2));
  await vi.waitFor(() => expect(worker.recorder.received).toContainEqual(tick(2)), WITHIN);
  expect(new Set(payloads(worker)).size).toBe(3_000);
  expect(payloads(worker).length).toBeLessThanOrEqual(6_000);
  await vi.waitFor(() => expect(slow.bus.subscribed).toBe(true), WITHIN);
  expect(worker.bus.problem()).toBeUndefined();
}, 30_000);

// kegaretail/react-native-rabbitmq#37, nttcom/fluent-plugin-rabbitmq#26: the administrator declares exchanges, programs may only use them.
it('an exchange that we may not declare is used as the administrator has declared it', async () => {
  const admin = await connect(broker.vhost.amqpUrl);
  const channel = await admin.createChannel();
  await channel.assertExchange('galaxy_core_exchange', 'topic', { durable: true });
  await admin.close();
  await broker.vhost.permit({
    configure: '^lightcone\\.',
    write: '^(galaxy_core_exchange|lightcone\\..*)$',
    read: '^(galaxy_core_exchange|lightcone\\..*)$',
  });
  const { bus, recorder } = await started();
  await bus.publish(broadcast('{}'));
  await vi.waitFor(() => expect(recorder.received).toEqual([broadcast('{}')]), WITHIN);
  expect(bus.problem()).toBeUndefined();
  // Taken away while we run, it cannot be had again, and the reason is said.
  await broker.rabbit.ctl(
    'eval',
    `rabbit_exchange:delete({resource, <<"${broker.vhost.name}">>, exchange, <<"galaxy_core_exchange">>}, false, <<"test">>).`,
  );
  await vi.waitFor(
    () =>
      expect(bus.problem()).toMatch(
        /galaxy_core_exchange.*(permission|refused)|lacks a permission.*galaxy_core_exchange/,
      ),
    WITHIN,
  );
}, 30_000);

// cloudamqp/amqp-client.js#43, amqp-node/amqplib#516, spring-projects/spring-amqp#999: limits of channels, whose reason is lost.
describe('a limit', () => {
  it.each([
    ['max-connections', { 'max-connections': 0 }, /connection limit/],
    ['max-channels', { 'max-channels': 1 }, /channels opened for user 'limited' has reached/],
  ])(
    'of the user (%s) is said with its name, and waited for',
    async (_, limits, says) => {
      await broker.rabbit.ctl('add_user', 'limited', 'limited').catch(() => {});
      await broker.rabbit.ctl('set_permissions', '--vhost', broker.vhost.name, 'limited', '.*', '.*', '.*');
      await broker.rabbit.ctl('set_user_limits', 'limited', JSON.stringify(limits));
      const url = new URL(broker.vhost.amqpUrl);
      url.username = 'limited';
      url.password = 'limited';
      const { bus, lines } = create(url.href);
      const starting = bus.start();
      starting.catch(() => {});
      await vi.waitFor(() => expect(bus.problem()).toMatch(/limit/), WITHIN);
      await after(2_000);
      expect(bus.problem()).toMatch(says);
      expect(lines.filter(({ level }) => Number(level) >= 40)).toHaveLength(1);
      await broker.rabbit.ctl('clear_user_limits', 'limited', 'all');
      await starting;
      await broker.rabbit.ctl('delete_user', 'limited').catch(() => {});
    },
    40_000,
  );

  it('of channels of a connection (channel_max) that is too low is said', async () => {
    await broker.rabbit.ctl('eval', 'application:set_env(rabbit, channel_max, 1).');
    try {
      const { bus } = create();
      const starting = bus.start();
      starting.catch(() => {});
      await vi.waitFor(
        () => expect(bus.problem()).toMatch(/fewer than the two channels.*channel_max/),
        WITHIN,
      );
      await broker.rabbit.ctl('eval', 'application:set_env(rabbit, channel_max, 2047).');
      await starting;
    } finally {
      await broker.rabbit.ctl('eval', 'application:set_env(rabbit, channel_max, 2047).');
    }
  });

  it('of a frame (frame_max) that is low costs nothing', async () => {
    await broker.rabbit.ctl('eval', 'application:set_env(rabbit, frame_max, 4096).');
    try {
      const { bus, recorder } = await started();
      const large = broadcast(JSON.stringify({ text: 'x'.repeat(1_000_000) }));
      await bus.publish(large);
      await vi.waitFor(() => expect(recorder.received).toEqual([large]), WITHIN);
    } finally {
      await broker.rabbit.ctl('eval', 'application:set_env(rabbit, frame_max, 131072).');
    }
  });
});

// rabbitmq/rabbitmq-server#5305: a virtual host whose queues are quorum queues where nothing else is said, or streams.
it.each(['quorum', 'stream'])(
  '%s as the type of the queues of a virtual host is no matter for ours',
  async (type) => {
    const metadata = `#{default_queue_type => <<"${type}">>, description => <<>>, tags => []}`;
    const update = `rabbit_vhost:update(<<"${broker.vhost.name}">>, fun(V) -> vhost:set_metadata(V, ${metadata}) end)`;
    await broker.rabbit.ctl('eval', `rabbit_misc:execute_mnesia_transaction(fun() -> ${update} end).`);
    const other = await connect(broker.vhost.amqpUrl);
    const channel = await other.createChannel();
    await channel.assertQueue('durable', { durable: true });
    expect((await broker.vhost.queues()).map((queue) => queue.arguments['x-queue-type'])).toEqual([type]);
    await channel.deleteQueue('durable');
    await other.close();
    const { bus, recorder } = await started();
    await bus.publish(broadcast('{}'));
    await vi.waitFor(() => expect(recorder.received).toEqual([broadcast('{}')]), WITHIN);
    expect((await broker.vhost.queues()).map(({ exclusive }) => exclusive)).toEqual([true]);
  },
);
