/**
 * What other people's programs met at a RabbitMQ, and at a HAProxy in front of one. Each test names its report.
 */
import { describe, expect, it, vi } from 'vitest';
import { brokerFixture } from '../support/broker-fixture.js';
import { amqpBus, broadcast, type TestBus } from '../support/bus.js';
import { startHaproxy } from '../support/haproxy.js';
import { TcpProxy } from '../support/tcp-proxy.js';

const WITHIN = { timeout: 8_000, interval: 50 };

const broker = brokerFixture();

function create(url = broker.vhost.amqpUrl): TestBus {
  const test = amqpBus(url);
  broker.open.push({ close: () => test.bus.stop() });
  return test;
}

async function through(proxy: readonly string[]): Promise<string> {
  const haproxy = await startHaproxy(proxy);
  broker.open.push(haproxy);
  const url = new URL(broker.vhost.amqpUrl);
  url.port = String(haproxy.port);
  return url.href;
}

const brokerAddress = (): string => new URL(broker.rabbit.amqpUrl).host;
const after = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

describe('a RabbitMQ', () => {
  // rabbitmq/rabbitmq-server#2079 and #4236: the row of the topic's tree is lost, the binding is still shown, and binding again
  // does nothing.
  it('whose binding is shown and carries nothing is got round with a new queue', async () => {
    const { bus, recorder } = create();
    await bus.start();
    const [queue] = await broker.vhost.queues();
    const resource = `{resource, <<"${broker.vhost.name}">>, queue, <<"${queue!.name}">>}`;
    const removed = await broker.rabbit.ctl(
      'eval',
      `{atomic, N} = mnesia:transaction(fun() ->
         Rows = mnesia:match_object(rabbit_topic_trie_binding,
           {topic_trie_binding, {trie_binding, '_', '_', ${resource}, '_'}, '_'}, write),
         [mnesia:delete_object(rabbit_topic_trie_binding, Row, write) || Row <- Rows], length(Rows) end), N.`,
    );
    expect(removed.trim()).toBe('1');
    expect((await broker.vhost.bindings()).map(({ destination }) => destination)).toEqual([queue!.name]);
    await vi.waitFor(() => expect(recorder.received).toEqual(['reconnected']), WITHIN);
    await bus.publish(broadcast('{}'));
    await vi.waitFor(() => expect(recorder.received).toEqual(['reconnected', broadcast('{}')]));
    const [anew] = await broker.vhost.queues();
    expect(anew!.name).not.toBe(queue!.name);
  });

  // miguelgrinberg/python-socketio#1469: after a restart the process goes on sending and never hears anything again.
  it('that comes back without exchange, queue and binding gets them anew, and the process hears again', async () => {
    const { bus, recorder } = create();
    await bus.start();
    await broker.rabbit.ctl('stop_app');
    await broker.rabbit.ctl('reset');
    await broker.rabbit.ctl('start_app');
    const lost = broker.vhost.name;
    await vi.waitFor(() => expect(bus.problem()).toMatch(/virtual host|password/), WITHIN);
    await broker.vhost.create();
    await vi.waitFor(() => expect(recorder.received).toEqual(['reconnected']), WITHIN);
    await bus.publish(broadcast('{}'));
    await vi.waitFor(() => expect(recorder.received).toContainEqual(broadcast('{}')));
    expect((await broker.vhost.bindings()).length).toBe(1);
    expect(broker.vhost.name).toBe(lost);
  }, 60_000);

  // rabbitmq/rabbitmq-server#887: after a partition no binding can be declared on a queue of that name any more, until the
  // queue is deleted and made anew.
  it('is never asked for a queue of a name that was used before', async () => {
    const { bus, recorder } = create();
    await bus.start();
    const names = new Set<string>();
    for (let i = 1; i <= 3; i += 1) {
      names.add((await broker.vhost.queues())[0]!.name);
      await broker.rabbit.ctl('close_all_connections', '--vhost', broker.vhost.name, 'a test');
      await vi.waitFor(() => expect(recorder.received).toHaveLength(i), WITHIN);
    }
    expect(names.size).toBe(3);
  }, 60_000);
});

describe('a HAProxy in front of it', () => {
  // deviantony.wordpress.com/2014/10/30/rabbitmq-and-haproxy-a-timeout-issue: connections that are idle for longer than
  // `timeout client` are closed. Heartbeats are sent more often than any sensible one.
  it('with short timeouts leaves an idle worker connected', async () => {
    const url = await through([
      'mode tcp',
      'timeout connect 2s',
      'timeout client 3s',
      'timeout server 3s',
      `server one ${brokerAddress()}`,
    ]);
    const { bus, recorder } = create(url);
    await bus.start();
    await after(8_000);
    expect(recorder.received).toEqual([]);
    expect(bus.subscribed).toBe(true);
  });

  // postwait/node-amqp#424: packets to the node that HAProxy chose are dropped, the client stays on a connection that is
  // dead. `timeout server` is long, so HAProxy does not tell.
  it('whose way to the chosen node goes silent is connected to anew, and leads to another', async () => {
    const nodes = [await TcpProxy.to(broker.rabbit.amqpUrl), await TcpProxy.to(broker.rabbit.amqpUrl)];
    broker.open.push(...nodes);
    const url = await through([
      'mode tcp',
      'balance roundrobin',
      'timeout connect 2s',
      'timeout client 1h',
      'timeout server 1h',
      ...nodes.map(({ port }, i) => `server node${i} 127.0.0.1:${port}`),
    ]);
    const { bus, recorder } = create(url);
    await bus.start();
    const silent = nodes.find(({ connections }) => connections > 0)!;
    silent.goSilent();
    await vi.waitFor(() => expect(recorder.received).toEqual(['reconnected']), {
      ...WITHIN,
      timeout: 15_000,
    });
    await bus.publish(broadcast('{}'));
    await vi.waitFor(() => expect(recorder.received).toContainEqual(broadcast('{}')));
  });

  // nforgeio/neonKUBE#407: without a node that is up, HAProxy accepts connections and closes them at once.
  it('that accepts and has no node behind it is waited for, in words that say what happens', async () => {
    const node = await TcpProxy.to(broker.rabbit.amqpUrl);
    broker.open.push(node);
    await node.refuse();
    const url = await through([
      'mode tcp',
      'timeout connect 500ms',
      'timeout client 1h',
      'timeout server 1h',
      'retries 0',
      `server one 127.0.0.1:${node.port}`,
    ]);
    const { bus, lines } = create(url);
    const starting = bus.start();
    starting.catch(() => {});
    await vi.waitFor(
      () => expect(bus.problem()).toContain('closed the connection without an answer'),
      WITHIN,
    );
    expect(lines.filter(({ level }) => level === 40)).toHaveLength(1);
    await node.resume();
    await starting;
    expect(bus.subscribed).toBe(true);
  });
});
