import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

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
  // Debian's own Python, which is the one that has the package python3-kombu.
  await promisify(execFile)('/usr/bin/python3', ['-c', PRODUCER, amqpUrl, JSON.stringify(messages)]);
}
