import type { Channel, ChannelModel } from 'amqplib';

/** Galaxy's exchange, declared exactly as Galaxy declares it (contract, section 3.1): other arguments would be refused. */
export const CONTROL_EXCHANGE = 'galaxy_core_exchange';

/** Both the literal routing key of 26.1 and the pattern that catches it (contract, section 3.1). */
export const CONTROL_KEY = 'control.*';
/** The leader's ticks. No queue of Galaxy's is bound to this key or the next two. */
export const TICK_KEY = 'lightcone.tick';
/** What processes tell each other of themselves. */
export const NOTICE_KEY = 'lightcone.notice';
/** What a worker sends to hear whether anything reaches it. */
export const PROBE_KEY = 'lightcone.probe';
/**
 * The one binding of a worker's queue: Galaxy's keys (`control.*`, and `web.control` of the newer form), ticks, notices and probes.
 * It is one, so that whatever comes through it proves the way of all the others.
 */
const EVERYTHING = '#';

const ACCESS_REFUSED = 403;

/** Some 30 MB in the broker at worst, when a worker reads nothing and the TTL has not come round yet. */
const MAX_QUEUE_LENGTH = 100_000;

export async function declareExchange(connection: ChannelModel): Promise<void> {
  try {
    await once(connection, (channel) => channel.assertExchange(CONTROL_EXCHANGE, 'topic', { durable: true }));
  } catch (refused) {
    if ((refused as { code?: unknown }).code !== ACCESS_REFUSED) throw refused;
    // What an administrator has declared may be used without the right to declare it.
    await once(connection, (channel) => channel.checkExchange(CONTROL_EXCHANGE)).catch(() => {
      throw refused;
    });
  }
}

/** On a channel of its own: one that is refused something is closed. */
async function once(connection: ChannelModel, work: (channel: Channel) => Promise<unknown>): Promise<void> {
  const channel = await connection.createChannel();
  channel.on('error', () => {});
  await work(channel);
  await channel.close();
}

/**
 * One queue for tasks and ticks, so that they stay in order. It belongs to this connection and dies with it: nothing piles
 * up for a worker that is gone, and a worker that comes back starts empty (and hears of the gap).
 *
 * @param name must be new for each connection: the broker may still hold the last one's queue for a half-open connection
 */
export async function declareQueue(channel: Channel, name: string, messageTtlMs: number): Promise<void> {
  await channel.assertQueue(name, {
    exclusive: true,
    autoDelete: true,
    durable: false,
    messageTtl: messageTtlMs,
    maxLength: MAX_QUEUE_LENGTH,
    overflow: 'drop-head',
  });
  await channel.bindQueue(name, CONTROL_EXCHANGE, EVERYTHING);
}
