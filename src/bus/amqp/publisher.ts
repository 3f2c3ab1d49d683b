import type { ConfirmChannel, Message, Options } from 'amqplib';
import { LightconeError } from '../../core/errors.js';
import { withDeadline } from '../../lib/lifecycle.js';
import { explainBrokerError } from './broker-error.js';

/** After this time a publish counts as failed, and the caller keeps its cursor. */
const CONFIRM_DEADLINE_MS = 3_000;
/** Frames that may wait for the socket before `publish` refuses; a message has two or three. */
export const WRITE_BUFFER_FRAMES = 4_096;

/** Whether a queue was bound to the key. The broker confirms both. */
export type Outcome = 'routed' | 'unrouted';

interface InFlight {
  body: Buffer;
  outcome: Outcome;
  giveUp: (error: Error) => void;
}

export interface PublisherEvents {
  /** No confirm arrived in time. */
  onSilence(): void;
  onUsableChange(): void;
}

/** Publishes on one confirm channel for the life of its connection. It keeps only messages in flight. */
export class ConfirmPublisher {
  #blocked = false;
  #congested = false;
  #closed = false;
  /** The broker's reason for closing the channel, which arrives before the pending publishes fail. */
  #closing: Error | undefined;
  readonly #inFlight = new Set<InFlight>();

  constructor(
    private readonly channel: ConfirmChannel,
    private readonly events: PublisherEvents,
  ) {
    channel.on('drain', () => {
      this.#congested = false;
      events.onUsableChange();
    });
    channel.on('error', (error: Error) => {
      this.#closing = error;
    });
    channel.on('close', () => {
      this.#closed = true;
    });
    // A return precedes its confirm, and identifies its message only by the body.
    channel.on('return', ({ content }: Message) => {
      for (const message of this.#inFlight) if (message.body.equals(content)) message.outcome = 'unrouted';
    });
  }

  get blocked(): boolean {
    return this.#blocked;
  }

  get usable(): boolean {
    return this.problem === undefined;
  }

  get problem(): string | undefined {
    if (this.#closed) return 'the channel is closed';
    if (this.#blocked) return 'the broker blocks publishing (its memory or disk alarm)';
    if (this.#congested) return 'the broker accepts messages more slowly than they are published';
    return undefined;
  }

  setBlocked(blocked: boolean): void {
    this.#blocked = blocked;
    if (blocked) {
      // They may still arrive after the alarm: a duplicate, which is allowed.
      for (const { giveUp } of [...this.#inFlight]) giveUp(unavailable(this.problem));
    }
    this.events.onUsableChange();
  }

  /** Resolves at the broker's confirm. @throws LightconeError BUS_UNAVAILABLE */
  async publish(
    exchange: string,
    routingKey: string,
    body: Buffer,
    properties: Options.Publish,
  ): Promise<Outcome> {
    if (!this.usable) throw unavailable(this.problem);
    let message!: InFlight;
    const confirmed = new Promise<Outcome>((resolve, reject) => {
      message = { body, outcome: 'routed', giveUp: reject };
      this.#inFlight.add(message);
      const roomForMore = this.channel.publish(
        exchange,
        routingKey,
        body,
        { ...properties, mandatory: true },
        (error: Error | null) => {
          if (error) reject(unavailable(explainBrokerError(this.#closing ?? error)));
          else resolve(message.outcome);
        },
      );
      if (!roomForMore) {
        this.#congested = true;
        this.events.onUsableChange();
      }
    });
    try {
      return await withDeadline(confirmed, CONFIRM_DEADLINE_MS, () => {
        this.events.onSilence();
        return unavailable(`no confirm within ${CONFIRM_DEADLINE_MS} ms`);
      });
    } catch (error) {
      // amqplib throws an error of its own while the channel closes.
      throw error instanceof LightconeError ? error : unavailable(String(error));
    } finally {
      this.#inFlight.delete(message);
    }
  }
}

export const unavailable = (why: string | undefined): LightconeError =>
  new LightconeError(
    'BUS_UNAVAILABLE',
    `The message was not published: ${why ?? 'the broker is unavailable'}.`,
  );
