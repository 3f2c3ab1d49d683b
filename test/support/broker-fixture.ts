import { afterAll, afterEach, beforeAll, beforeEach, expect, vi } from 'vitest';
import { createVhost, type Rabbit, startRabbit, type Vhost } from './rabbitmq.js';

/** A broker for the tests of a file, and for each test a virtual host in which nothing may be left behind. */
export interface BrokerFixture {
  rabbit: Rabbit;
  vhost: Vhost;
  /** Closed after the test, the last first. */
  readonly open: { close(): Promise<unknown> }[];
}

export function brokerFixture(): BrokerFixture {
  const fixture = { open: [] } as unknown as BrokerFixture;
  beforeAll(async () => {
    fixture.rabbit = await startRabbit();
  });
  afterAll(async () => {
    await fixture.rabbit.stop();
  });
  beforeEach(async () => {
    fixture.vhost = await createVhost(fixture.rabbit);
  });
  afterEach(async () => {
    const { open, vhost } = fixture;
    for (const one of open.splice(0).reverse()) await one.close();
    await vi.waitFor(async () => expect(await vhost.queues()).toEqual([]), {
      timeout: 10_000,
      interval: 50,
    });
    await vhost.delete();
  });
  return fixture;
}
