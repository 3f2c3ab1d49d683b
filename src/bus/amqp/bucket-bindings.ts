import type { Channel } from 'amqplib';
import type { Bucket } from '../../core/interest.js';
import { BUCKET_KEYS, CONTROL_EXCHANGE, EVERY_BUCKET_KEY } from './topology.js';

/**
 * The buckets that this process wants to hear of, from one connection to the next.
 *
 * ```
 *   declared, bound to every bucket ──open──► wide ──each wanted bucket is bound──► narrow (the pattern is unbound)
 * ```
 *
 * A new queue begins with all of them, so that it takes one answer of the broker and not one for each bucket until nothing
 * is missed any more, and so that whatever is asked for in the middle of connecting is in it as well.
 */
export class BucketBindings {
  readonly #wanted = new Set<Bucket>();
  /** The queue of the present connection. */
  #open: { channel: Channel; queue: string } | undefined;

  /** @param channel on which nothing else is done: what is asked for here is answered in its order */
  open(channel: Channel, queue: string): void {
    const open = { channel, queue };
    this.#open = open;
    channel.once('close', () => {
      if (this.#open === open) this.#open = undefined;
    });
  }

  /** As `Subscriber.bind`. No deadline: a connection that does not answer is found and ended by its consumer. */
  async bind(buckets: readonly Bucket[]): Promise<boolean> {
    for (const bucket of buckets) this.#wanted.add(bucket);
    const open = this.#open;
    if (!open) return false;
    try {
      await Promise.all(buckets.map((bucket) => bindBucket(open, bucket)));
      return true;
    } catch {
      // The connection is lost; the next one's queue begins with all buckets.
      return false;
    }
  }

  unbind(buckets: readonly Bucket[]): void {
    for (const bucket of buckets) {
      this.#wanted.delete(bucket);
      if (this.#open) void unbindKey(this.#open, BUCKET_KEYS[bucket]!).catch(() => {});
    }
  }

  /** Binds what is wanted one by one, then gives up the rest. Never rejects: a connection that is lost needs it no more. */
  async narrow(): Promise<void> {
    const open = this.#open;
    if (!open) return;
    try {
      // A bucket that is added meanwhile is visited as well, or is bound by whoever added it: before the pattern goes.
      for (const bucket of this.#wanted) await bindBucket(open, bucket);
      await unbindKey(open, EVERY_BUCKET_KEY);
    } catch {
      // Nothing to do: see above.
    }
  }
}

type Open = { channel: Channel; queue: string };

// `async`, because amqplib throws where the channel is closed already.
const bindBucket = async ({ channel, queue }: Open, bucket: Bucket): Promise<void> => {
  await channel.bindQueue(queue, CONTROL_EXCHANGE, BUCKET_KEYS[bucket]!);
};
const unbindKey = async ({ channel, queue }: Open, key: string): Promise<void> => {
  await channel.unbindQueue(queue, CONTROL_EXCHANGE, key);
};
