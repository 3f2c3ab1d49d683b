/** What other people's programs met at a RabbitMQ whose administrator sets policies and limits. Each test names its report. */
import { expect, it, vi } from 'vitest';
import type { Notice } from '../../src/core/notices.js';
import { brokerFixture } from '../support/broker-fixture.js';
import { amqpBus, broadcast, type TestBus, tick } from '../support/bus.js';
import { TcpProxy } from '../support/tcp-proxy.js';

const WITHIN = { timeout: 10_000, interval: 50 };

const broker = brokerFixture();

function create(url = broker.vhost.amqpUrl): TestBus {
  const test = amqpBus(url);
  broker.open.push({ close: () => test.bus.stop() });
  return test;
}
const policy = (definition: Record<string, unknown>, apply = 'queues') =>
  broker.rabbit.ctl(
    'set_policy',
    '--vhost',
    broker.vhost.name,
    '--apply-to',
    apply,
    'all',
    '.*',
    JSON.stringify(definition),
  );
const after = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const notice = { name: 'a', host: 'h', pid: 1 } as unknown as Notice;

/** 200 tasks and 5 ticks, all in their order. What was published before may still come. */
async function carriesAll({ bus, recorder }: TestBus): Promise<void> {
  const from = recorder.received.length;
  const sent: unknown[] = [];
  for (let i = 0; i < 5; i += 1) {
    const tasks = Array.from({ length: 40 }, (_, n) => broadcast(`{"n":${i * 40 + n}}`));
    await Promise.all(tasks.map((task) => bus.publish(task)));
    await bus.publishTick(tick(i + 1));
    sent.push(...tasks, tick(i + 1));
  }
  const texts = new Set(sent.map((one) => JSON.stringify(one)));
  const came = () => recorder.received.slice(from).filter((one) => texts.has(JSON.stringify(one)));
  await vi.waitFor(() => expect(came()).toEqual(sent), WITHIN);
}

// rabbitmq/rabbitmq-server#12206, nanit/kubernetes-rabbitmq-cluster#45: a policy for all queues limits those that the program made.
it.each([
  ['expires', { expires: 1_000 }],
  ['max-length', { 'max-length': 1_000, overflow: 'reject-publish' }],
  ['message-ttl', { 'message-ttl': 2_000 }],
  ['mirrors', { 'ha-mode': 'all', 'ha-sync-mode': 'automatic' }],
  ['lazy queues', { 'queue-mode': 'lazy' }],
])(
  'a policy of %s for all queues costs nothing, whether it comes before or after the queue',
  async (_, definition) => {
    const before = create();
    await before.bus.start();
    await policy(definition);
    const later = create();
    await later.bus.start();
    await after(2_500);
    await carriesAll(before);
    await carriesAll({ ...later, recorder: before.recorder });
    expect(before.recorder.received).not.toContain('reconnected');
  },
);

// rabbitmq/rabbitmq-server#12206: publishes are refused by a full queue, for as long as its policy stands.
it.each([
  ['drops', { 'max-length': 0 }],
  ['drops by size', { 'max-length-bytes': 0 }],
  ['refuses', { 'max-length': 0, overflow: 'reject-publish' }],
  ['expires at once', { 'message-ttl': 0 }],
])(
  'a policy that %s what is published is said, and over with it the trouble is over',
  async (_, definition) => {
    const test = create();
    await test.bus.start();
    await policy(definition);
    await vi.waitFor(async () => {
      await test.bus.publish(broadcast('{}')).catch(() => {});
      const came = test.recorder.received.some((one) => typeof one !== 'string');
      expect(came || /policy|refuse/.test(test.bus.problem() ?? '')).toBe(true);
    }, WITHIN);
    await broker.rabbit.ctl('clear_policy', '--vhost', broker.vhost.name, 'all');
    await vi.waitFor(() => expect(test.bus.problem()).toBeUndefined(), WITHIN);
    await carriesAll(test);
  },
);

// amqp-node/amqplib#733, ruby-amqp/bunny#681: the broker closes the channel of a consumer whose deliveries are not acknowledged.
it('a short consumer_timeout finds nothing that is not acknowledged, also where nobody leads', async () => {
  await broker.rabbit.ctl(
    'eval',
    'application:set_env(rabbit, consumer_timeout, 8000), application:set_env(rabbit, channel_tick_interval, 500).',
  );
  try {
    const { bus, recorder } = create();
    await bus.start();
    for (let i = 0; i < 12; i += 1) {
      await bus.publishNotice(notice);
      await after(1_000);
    }
    expect(recorder.received).toEqual([]);
  } finally {
    await broker.rabbit.ctl(
      'eval',
      'application:unset_env(rabbit, consumer_timeout), application:set_env(rabbit, channel_tick_interval, 60000).',
    );
  }
}, 60_000);

// elixir-broadway/broadway_rabbitmq#54: a hosted broker's limit of connections is reached, and the client does not know that it passes.
it.each([
  ['max-connections', { 'max-connections': 0 }],
  ['max-queues', { 'max-queues': 0 }],
])('a limit of the virtual host (%s) is said, waited for, and not retried in a storm', async (_, limits) => {
  await broker.rabbit.ctl('set_vhost_limits', '--vhost', broker.vhost.name, JSON.stringify(limits));
  const { bus, lines } = create();
  const starting = bus.start();
  starting.catch(() => {});
  await vi.waitFor(() => expect(bus.problem()).toMatch(/limit/), WITHIN);
  await after(3_000);
  expect(lines.filter(({ level }) => Number(level) >= 40)).toHaveLength(1);
  await broker.rabbit.ctl('clear_vhost_limits', '--vhost', broker.vhost.name);
  await starting;
  expect(bus.subscribed).toBe(true);
});

// rabbitmq/cluster-operator#715: a user with topic permissions may declare everything, and is refused at binding or publishing.
it('topic permissions that forbid our keys are said', async () => {
  const { bus } = create();
  await bus.start();
  await broker.rabbit.ctl(
    'set_topic_permissions',
    '--vhost',
    broker.vhost.name,
    'guest',
    'galaxy_core_exchange',
    '^control',
    '.*',
  );
  await broker.rabbit.ctl('close_all_connections', '--vhost', broker.vhost.name, 'test');
  await vi.waitFor(() => expect(bus.problem()).toMatch(/ACCESS.REFUSED|access to topic|permission/i), WITHIN);
  await broker.rabbit.ctl('clear_topic_permissions', '--vhost', broker.vhost.name, 'guest');
  await vi.waitFor(() => expect(bus.problem()).toBeUndefined(), WITHIN);
});

// kourier-amqp/kourier#60: the server says heartbeat 0, and a connection that is dead is never found.
it('a broker that wants no heartbeats gets ours, and a silent way is found', async () => {
  await broker.rabbit.ctl('eval', 'application:set_env(rabbit, heartbeat, 0).');
  try {
    const proxy = await TcpProxy.to(broker.vhost.amqpUrl);
    broker.open.push(proxy);
    const { bus, recorder } = create(proxy.through(broker.vhost.amqpUrl));
    await bus.start();
    proxy.goSilent();
    await vi.waitFor(() => expect(bus.subscribed).toBe(false), WITHIN);
    await proxy.resume();
    await vi.waitFor(() => expect(recorder.received).toEqual(['reconnected']), WITHIN);
  } finally {
    await broker.rabbit.ctl('eval', 'application:set_env(rabbit, heartbeat, 60).');
  }
}, 40_000);

// Particular/NServiceBus.RabbitMQ#135: an alternate exchange, set by policy, takes what would be returned as unroutable.
it('a lost binding is found although an alternate exchange takes what is published', async () => {
  await broker.rabbit.ctl(
    'eval',
    `rabbit_exchange:declare({resource, <<"${broker.vhost.name}">>, exchange, <<"lost">>}, fanout, true, false, false, [], <<"test">>).`,
  );
  await policy({ 'alternate-exchange': 'lost' }, 'exchanges');
  const { bus, recorder } = create();
  await bus.start();
  await carriesAll({ bus, recorder } as TestBus);
  await broker.vhost.deleteExchange('galaxy_core_exchange');
  await vi.waitFor(() => expect(recorder.received).toContain('reconnected'), WITHIN);
});

// rabbitmq/rabbitmq-amqp-java-client#390, celery/py-amqp#428: a message that is too large closes the channel, and it never recovers.
it('a message that the broker takes for too large fails alone, and the next one is published', async () => {
  await broker.rabbit.ctl('eval', 'application:set_env(rabbit, max_message_size, 100000).');
  try {
    const { bus, recorder } = create();
    await bus.start();
    await expect(bus.publish(broadcast(JSON.stringify({ text: 'x'.repeat(200_000) })))).rejects.toThrow(
      /larger|size/,
    );
    await vi.waitFor(() => expect(bus.problem()).toBeUndefined(), WITHIN);
    await bus.publish(broadcast('{}'));
    await vi.waitFor(() => expect(recorder.received).toContainEqual(broadcast('{}')), WITHIN);
  } finally {
    await broker.rabbit.ctl('eval', 'application:set_env(rabbit, max_message_size, 134217728).');
  }
});
