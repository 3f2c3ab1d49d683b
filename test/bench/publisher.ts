/**
 * Publishes lines of standard input as control tasks: `* DATA` to everybody, `N DATA` to user number N.
 *
 *     node publisher.js AMQP_URL
 */
import { createInterface } from 'node:readline';
import { openPublisher } from './amqp-publisher.js';

const publisher = await openPublisher(process.argv[2]!);
const lines = createInterface({ input: process.stdin });
lines.on('line', (line) => {
  const blank = line.indexOf(' ');
  const to = line.slice(0, blank);
  const payload = line.slice(blank + 1);
  publisher.publish(
    to === '*'
      ? { task: 'notify_broadcast', payload }
      : { task: 'notify_users', userIds: [Number(to) + 1], payload },
  );
});
lines.on('close', () => void publisher.close());
