/** Publishes control tasks as a Galaxy process does: no confirms, and nobody waits. */
import { connect } from 'amqplib';
import { CONTROL_EXCHANGE, CONTROL_KEY, declareExchange } from '../../src/bus/amqp/topology.js';
import { encodeTask } from '../../src/bus/wire/codec.js';
import type { ControlTask } from '../../src/core/events.js';

export interface AmqpPublisher {
  publish(task: ControlTask): void;
  close(): Promise<void>;
}

export async function openPublisher(url: string): Promise<AmqpPublisher> {
  const connection = await connect(url, { noDelay: true });
  const channel = await connection.createChannel();
  await declareExchange(connection);
  return {
    publish: (task) => {
      channel.publish(CONTROL_EXCHANGE, CONTROL_KEY, encodeTask(task), {
        contentType: 'application/json',
        deliveryMode: 2,
        headers: { epoch: { '!': 'double', value: Date.now() / 1000 } },
        expiration: '10000',
      });
    },
    close: async () => {
      // The channel first: its goodbye queues behind what it still has to send, the connection's own does not.
      await channel.close();
      await connection.close();
    },
  };
}
