import type { Channel, ChannelModel } from 'amqplib';

/**
 * Galaxy's exchange, declared exactly as Galaxy declares it (contract, section 3.1); the broker refuses other
 * arguments.
 */
export const CONTROL_EXCHANGE = 'galaxy_core_exchange';

/** Both the literal routing key of Galaxy 26.1 and the pattern that matches it (contract, section 3.1). */
export const CONTROL_KEY = 'control.*';
/** The leader's ticks. Galaxy binds no queue to this key or the next two. */
export const TICK_KEY = 'lightcone.tick';
/** Messages of processes about themselves. */
export const NOTICE_KEY = 'lightcone.notice';
/** Probes, with which a worker checks its subscription. */
export const PROBE_KEY = 'lightcone.probe';
/**
 * The only binding of a worker's queue. It matches Galaxy's keys (`control.*`, and `web.control` of the newer format),
 * ticks, notices and probes, so any message through it proves the path of all others.
 */
const EVERYTHING = '#';

const ACCESS_REFUSED = 403;

/** At worst some 30 MB in the broker, if a worker reads nothing and the messages have not expired yet. */
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
 * One queue for tasks and ticks, which keeps their order. It belongs to this connection and dies with it: nothing
 * accumulates for a dead worker, and a reconnected worker starts empty and reports the gap.
 * @param name must be new for each connection: the broker may still hold the previous queue of a half-open connection
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
