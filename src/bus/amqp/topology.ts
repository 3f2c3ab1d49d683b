import type { Channel } from 'amqplib';
import type { ControlTask } from '../../core/events.js';
import { BUCKETS, type Bucket, bucketsOf, OWNER_BUCKETS } from '../../core/interest.js';

/** Galaxy's exchange, declared exactly as Galaxy declares it (contract section 3.1): other arguments would be refused. */
export const CONTROL_EXCHANGE = 'galaxy_core_exchange';
/** Lightcone's own: the leader's ticks. Durable like the other, so that a publisher never finds it gone. */
export const TICK_EXCHANGE = 'lightcone_ticks';

/** Both the literal routing key of 26.1 and the pattern that catches it; see the contract. */
export const CONTROL_KEY = 'control.*';
/** The newer form's key for what concerns web workers only. */
export const WEB_KEY = 'web.control';

/**
 * Interest routing: a key per bucket (`sse.u17` for users and sessions, `sse.h203` for histories), and the pattern that
 * catches them all. None of them matches `control.*`: Galaxy's own processes do not get these tasks.
 */
export const BUCKET_KEYS: readonly string[] = Array.from({ length: BUCKETS }, (_, bucket: Bucket) =>
  bucket < OWNER_BUCKETS ? `sse.u${bucket}` : `sse.h${bucket - OWNER_BUCKETS}`,
);
export const EVERY_BUCKET_KEY = 'sse.*';

/** Some 30 MB in the broker at worst, when a worker reads nothing and the TTL has not come round yet. */
const MAX_QUEUE_LENGTH = 100_000;

/** A key costs the broker a look-up. A task for more buckets than this concerns nearly every worker anyway. */
const MAX_KEYS = 64;

/** @returns the routing keys of a task that is routed by interest, each once; `control.*` alone for all others */
export function routingKeys(task: ControlTask): string[] {
  const buckets = bucketsOf(task);
  if (buckets === undefined || buckets.size === 0 || buckets.size > MAX_KEYS) return [CONTROL_KEY];
  return Array.from(buckets, (bucket) => BUCKET_KEYS[bucket]!);
}

export async function declareExchanges(channel: Channel): Promise<void> {
  await channel.assertExchange(CONTROL_EXCHANGE, 'topic', { durable: true });
  await channel.assertExchange(TICK_EXCHANGE, 'fanout', { durable: true });
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
  await channel.bindQueue(name, CONTROL_EXCHANGE, CONTROL_KEY);
  await channel.bindQueue(name, CONTROL_EXCHANGE, WEB_KEY);
  // Whoever publishes may route by interest, whether this process does or not.
  await channel.bindQueue(name, CONTROL_EXCHANGE, EVERY_BUCKET_KEY);
  await channel.bindQueue(name, TICK_EXCHANGE, '');
}
