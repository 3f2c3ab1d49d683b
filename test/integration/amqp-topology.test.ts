/** What the broker holds for us can be taken away while every connection stays. Nobody may go on as if nothing had happened. */
import { readFileSync } from 'node:fs';
import { type ChannelModel, connect } from 'amqplib';
import { describe, expect, it, vi } from 'vitest';
import type { ControlTask } from '../../src/core/events.js';
import { brokerFixture } from '../support/broker-fixture.js';
import { amqpBus, broadcast, type TestBus, tick } from '../support/bus.js';
import { removeBinding } from '../support/rabbitmq.js';

/** 1.5 s of silence, 1.5 s without an answer, half a second for the look, and the way back. */
const WITHIN = { timeout: 6_000, interval: 50 };

const broker = brokerFixture();

async function started(options: Parameters<typeof amqpBus>[1] = {}): Promise<TestBus> {
  const test = amqpBus(broker.vhost.amqpUrl, options);
  broker.open.push({ close: () => test.bus.stop() });
  await test.bus.start();
  return test;
}

/** As a leader does: a tick each second, whether anybody takes it or not. */
function ticking({ bus }: TestBus): void {
  let sequence = 0;
  const timer = setInterval(() => {
    sequence += 1;
    bus.publishTick(tick(sequence, 'leader')).catch(() => {});
  }, 1_000);
  broker.open.push({ close: async () => clearInterval(timer) });
}

const tasksOf = ({ recorder }: TestBus): ControlTask[] =>
  recorder.received.filter((it): it is ControlTask => typeof it === 'object' && 'task' in it);

/** Publishes until one arrives that was published after the gap was told. */
async function expectWhole(publisher: TestBus, worker: TestBus): Promise<void> {
  await vi.waitFor(() => expect(worker.recorder.received).toContain('reconnected'), WITHIN);
  await vi.waitFor(() => expect(publisher.bus.available).toBe(true), WITHIN);
  await publisher.bus.publish(broadcast('after'));
  await vi.waitFor(() => expect(tasksOf(worker)).toContainEqual(broadcast('after')));
  expect(worker.bus.subscribed).toBe(true);
  expect(worker.bus.problem()).toBeUndefined();
}

const queueOf = async (serverName: string): Promise<string> => {
  const queue = (await broker.vhost.queues()).find(({ name }) => name.startsWith(`lightcone.${serverName}.`));
  return queue!.name;
};

const unbind = (queue: string): Promise<void> => removeBinding(broker.rabbit, broker.vhost.name, queue);

describe.each(['with a leader that ticks', 'without a leader'])('%s', (leader) => {
  const setUp = async () => {
    const monitor = await started({ publishesOnly: true, serverName: 'monitor' });
    const worker = await started();
    if (leader === 'with a leader that ticks') ticking(monitor);
    return { monitor, worker };
  };

  it('an exchange that is deleted is declared and bound anew, and the gap is told', async () => {
    const { monitor, worker } = await setUp();
    await broker.vhost.deleteExchange('galaxy_core_exchange');
    // The publisher finds it gone with its next message, and declares it: from then on it exists and nobody is bound.
    await monitor.bus.publish(broadcast('lost')).catch(() => {});
    await expectWhole(monitor, worker);
    expect(JSON.stringify(worker.lines)).toMatch(/does not come back|reaches no queue|was deleted/);
  });

  it('a binding that is removed is made anew, and the gap is told', async () => {
    const { monitor, worker } = await setUp();
    await unbind(await queueOf('main.1'));
    await expectWhole(monitor, worker);
  });

  it('of two workers the one whose binding is removed notices, and the other is left alone', async () => {
    const { monitor, worker } = await setUp();
    const other = await started({ serverName: 'main.2' });
    await unbind(await queueOf('main.1'));
    await expectWhole(monitor, worker);
    expect(other.recorder.received).not.toContain('reconnected');
    // Of two queues neither is served first.
    await vi.waitFor(() => expect(tasksOf(other)).toContainEqual(broadcast('after')));
  });

  it('a virtual host that is deleted and made anew without definitions is set up again', async () => {
    const { monitor, worker } = await setUp();
    await broker.vhost.recreate();
    await expectWhole(monitor, worker);
  });
});

describe('a worker that may not', () => {
  it.each([
    [
      'read the exchange',
      { configure: '.*', write: '.*', read: '^lightcone' },
      "exchange 'galaxy_core_exchange'",
    ],
    [
      'write to the exchange',
      { configure: '.*', write: '^lightcone', read: '.*' },
      "exchange 'galaxy_core_exchange'",
    ],
  ])(
    '%s is told so with the whole sentence of the broker, and goes on when it may again',
    async (_what, permissions, sentence) => {
      const worker = await started();
      await broker.vhost.permit(permissions);
      await vi.waitFor(async () => {
        await broker.vhost.closeConnections();
        expect(worker.bus.problem()).toContain('lacks a permission');
      }, WITHIN);
      expect(worker.bus.problem()).toContain(sentence);
      expect(worker.bus.problem()).toContain("refused for user 'guest'");
      expect(worker.bus.subscribed).toBe(false);
      await broker.vhost.permit({ configure: '.*', write: '.*', read: '.*' });
      await expectWhole(worker, worker);
    },
  );
});

it('the permissions that docs/security.md names are enough', async () => {
  const names = '^(galaxy_core_exchange|lightcone\\..*)$';
  expect(readFileSync('docs/security.md', 'utf8')).toContain(`'${names}' '${names}' '${names}'`);
  await broker.vhost.permit({ configure: names, write: names, read: names });
  const worker = await started();
  await worker.bus.publish(broadcast('{}'));
  await vi.waitFor(() => expect(tasksOf(worker)).toEqual([broadcast('{}')]));
});

describe('a task that no queue takes', () => {
  it('is not counted as published where only publishers are connected, is named once, and is no failure', async () => {
    const monitor = await started({ publishesOnly: true });
    for (let i = 0; i < 3; i += 1) await monitor.bus.publish(broadcast('nobody'));
    await monitor.bus.publishTick(tick(1));
    expect(monitor.metrics.total('galaxy.sse.dispatch.unrouted')).toBe(3);
    expect(monitor.metrics.total('galaxy.sse.dispatch.count')).toBe(0);
    const warnings = monitor.lines.filter(({ level }) => level === 40);
    expect(warnings.map(({ msg }) => msg)).toEqual([
      'published messages reach no queue: no worker is connected to this broker and virtual host',
    ]);
    const worker = await started({ serverName: 'main.2' });
    await monitor.bus.publish(broadcast('somebody'));
    await vi.waitFor(() => expect(tasksOf(worker)).toEqual([broadcast('somebody')]));
    expect(monitor.metrics.total('galaxy.sse.dispatch.count')).toBe(1);
  });

  it('is a failure for a worker, whose own queue should have taken it', async () => {
    const worker = await started();
    const unbound = unbind(await queueOf('main.1'));
    // Its own probe finds the gap within seconds, and what removes the binding takes seconds to say that it did.
    await expect(
      (async () => {
        for (;;) await worker.bus.publish(broadcast('1'));
      })(),
    ).rejects.toMatchObject({ code: 'BUS_UNAVAILABLE' });
    await unbound;
    expect(worker.metrics.total('galaxy.sse.dispatch.skipped_no_qw')).toBe(1);
    await expectWhole(worker, worker);
  });
});

it('what is put into a queue by its name neither counts as a task nor as a sign that the way is whole', async () => {
  const worker = await started();
  const queue = await queueOf('main.1');
  const connection: ChannelModel = await connect(broker.vhost.amqpUrl);
  broker.open.push(connection);
  const channel = await connection.createChannel();
  const body = Buffer.from(JSON.stringify({ task: 'notify_broadcast', kwargs: { payload: '{}' } }));
  // From before the binding is gone: the gap may be found before the program that removes it has ended.
  const timer = setInterval(() => channel.publish('', queue, body), 200);
  try {
    await unbind(queue);
    await vi.waitFor(() => expect(worker.recorder.received).toEqual(['reconnected']), WITHIN);
  } finally {
    clearInterval(timer);
  }
  expect(worker.metrics.total('galaxy.sse.tasks.invalid', { reason: 'misdirected' })).toBeGreaterThan(0);
});
