import { connect } from 'amqplib';
import { CONTROL_EXCHANGE, CONTROL_KEY } from '../../src/bus/amqp/topology.js';

/** Puts bodies on the exchange as any program with access to the broker can, and waits until the broker has them. */
export async function publishRaw(amqpUrl: string, bodies: readonly (Buffer | string)[]): Promise<void> {
  const connection = await connect(amqpUrl);
  const channel = await connection.createConfirmChannel();
  for (const body of bodies) {
    channel.publish(CONTROL_EXCHANGE, CONTROL_KEY, Buffer.from(body as string), {
      contentType: 'application/json',
    });
  }
  await channel.waitForConfirms();
  await connection.close();
}

export const broadcastBody = (payload: unknown): string =>
  JSON.stringify({ task: 'notify_broadcast', kwargs: { payload: JSON.stringify(payload) } });
