import type { ConfirmChannel, Options } from 'amqplib';
import { LightconeError } from '../../core/errors.js';
import { withDeadline } from '../../core/lifecycle.js';

/** A broker that takes longer to confirm is as good as dead: the caller has to keep its cursor. */
export const CONFIRM_DEADLINE_MS = 3_000;
/** Frames that may wait for the socket before `publish` refuses; a message has two or three. */
export const WRITE_BUFFER_FRAMES = 4_096;

export interface PublisherEvents {
  /** No confirm came in time. */
  onSilence(): void;
  onUsableChange(): void;
}

/** Publishes on one confirm channel, for as long as its connection lives. Keeps nothing that is not on its way. */
export class ConfirmPublisher {
  #blocked = false;
  #congested = false;
  #closed = false;
  /** Rejects what is in flight: the broker says that it reads nothing more for now. */
  #giveUp = new Set<(error: Error) => void>();

  constructor(
    private readonly channel: ConfirmChannel,
    private readonly events: PublisherEvents,
  ) {
    channel.on('drain', () => {
      this.#congested = false;
      events.onUsableChange();
    });
    channel.on('close', () => {
      this.#closed = true;
    });
  }

  get usable(): boolean {
    return this.problem === undefined;
  }

  get problem(): string | undefined {
    if (this.#closed) return 'the channel is closed';
    if (this.#blocked) return 'the broker takes no messages for now (its memory or disk alarm)';
    if (this.#congested) return 'the broker takes messages more slowly than they come';
    return undefined;
  }

  setBlocked(blocked: boolean): void {
    this.#blocked = blocked;
    if (blocked) {
      // They may still arrive when the alarm is over: a duplicate, which is allowed.
      for (const giveUp of [...this.#giveUp]) giveUp(unavailable(this.problem));
    }
    this.events.onUsableChange();
  }

  /** Resolves at the broker's confirm. @throws LightconeError BUS_UNAVAILABLE */
  async publish(
    exchange: string,
    routingKey: string,
    body: Buffer,
    properties: Options.Publish,
  ): Promise<void> {
    if (!this.usable) throw unavailable(this.problem);
    let giveUp!: (error: Error) => void;
    const confirmed = new Promise<void>((resolve, reject) => {
      giveUp = reject;
      this.#giveUp.add(giveUp);
      const roomForMore = this.channel.publish(
        exchange,
        routingKey,
        body,
        properties,
        (error: Error | null) => {
          if (error) reject(unavailable(error.message));
          else resolve();
        },
      );
      if (!roomForMore) {
        this.#congested = true;
        this.events.onUsableChange();
      }
    });
    try {
      await withDeadline(confirmed, CONFIRM_DEADLINE_MS, () => {
        this.events.onSilence();
        return unavailable(`no confirm within ${CONFIRM_DEADLINE_MS} ms`);
      });
    } catch (error) {
      // amqplib throws its own when the channel is just closing.
      throw error instanceof LightconeError ? error : unavailable(String(error));
    } finally {
      this.#giveUp.delete(giveUp);
    }
  }
}

export const unavailable = (why: string | undefined): LightconeError =>
  new LightconeError('BUS_UNAVAILABLE', `The message was not published: ${why ?? 'the broker is away'}.`);
