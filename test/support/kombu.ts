import { execFile, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { locate } from './programs.js';

/** Publishes as a Galaxy process does: python3-kombu, its exchange declared in Galaxy's way, one call per message. */
const PRODUCER = `
import json, sys, time
import kombu, kombu.pools
url, messages = sys.argv[1], json.loads(sys.argv[2])
exchange = kombu.Exchange('galaxy_core_exchange', type='topic')
with kombu.Connection(url) as connection:
    for message in messages:
        with kombu.pools.producers[connection].acquire(block=True) as producer:
            producer.publish(
                message['payload'],
                exchange=exchange,
                declare=[exchange],
                routing_key=message['key'],
                expiration=message.get('expiration'),
                headers={'epoch': time.time() + message.get('skew', 0)},
            )
`;

export interface GalaxyMessage {
  payload: { task: string; kwargs: Record<string, unknown>; noop?: string };
  key: 'control.*' | 'web.control';
  /** Seconds, as kombu takes it. */
  expiration?: number;
  /** Seconds by which the producer's clock is off. */
  skew?: number;
}

export async function publishAsGalaxy(amqpUrl: string, messages: GalaxyMessage[]): Promise<void> {
  await promisify(execFile)(locate('python3-kombu'), ['-c', PRODUCER, amqpUrl, JSON.stringify(messages)]);
}

/** Waits for one message and says what a Galaxy process would see of it. */
const CONSUMER = `
import json, sys
import kombu
exchange = kombu.Exchange('galaxy_core_exchange', type='topic')
with kombu.Connection(sys.argv[1]) as connection:
    queue = kombu.Queue('control.main@galaxy', exchange, routing_key='control.*')
    def seen(body, message):
        message.ack()
        epoch = message.headers['epoch']
        print(json.dumps({'body': body, 'epoch': epoch, 'type': type(epoch).__name__}))
    with kombu.Consumer(connection, queues=[queue], callbacks=[seen], accept=['application/json']):
        print('ready', flush=True)
        connection.drain_events(timeout=10)
    queue(connection.default_channel).delete()
`;

export interface SeenByGalaxy {
  body: unknown;
  epoch: number;
  /** Python's type of the epoch header. */
  type: string;
}

/** @param publish runs once the consumer listens */
export async function receiveAsGalaxy(amqpUrl: string, publish: () => Promise<void>): Promise<SeenByGalaxy> {
  const consumer = spawn(locate('python3-kombu'), ['-c', CONSUMER, amqpUrl], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: consumer.stdout });
  let seen: SeenByGalaxy | undefined;
  for await (const line of lines) {
    if (line === 'ready') await publish();
    else seen = JSON.parse(line) as SeenByGalaxy;
  }
  if (!seen) throw new Error('the Galaxy consumer received nothing');
  return seen;
}
