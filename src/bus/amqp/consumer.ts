import { type Channel, type ConsumeMessage, IllegalOperationError } from 'amqplib';
import type { Clock } from '../../core/clock.js';
import type { Metrics } from '../../telemetry/metrics.js';
import type { OncePerInterval } from '../../telemetry/once-per-interval.js';
import { decodeTask, decodeTick } from '../codec.js';
import type { Delivery } from '../delivery.js';
import { SilenceWatch } from './silence-watch.js';
import { TICK_EXCHANGE } from './topology.js';

/**
 * How far the broker may be ahead of this process. Acknowledging exists for this limit only (the queue dies with the
 * worker, so nothing is ever delivered again): without it a slow worker's backlog leaves the queue, where length and age
 * are limited, for the broker's memory, where nothing is.
 */
const PREFETCH = 2_000;
/** Each acknowledgement is a system call, and costs more than the messages: one for so many of them, */
const ACKNOWLEDGE_EACH = PREFETCH / 4;
/** or after this time. */
const ACKNOWLEDGE_AFTER_MS = 100;

export interface ConsumerOptions {
  serverName: string;
  delivery: Delivery;
  metrics: Metrics;
  complain: OncePerInterval;
  clock: Clock;
  /** Called before the first message is handed on, and by the bus once the subscription stands. */
  beforeFirst: () => void;
  /** The broker took the consumer away (its queue was deleted). */
  onCancelled: () => void;
  /** The broker neither sends nor answers. */
  onDead: () => void;
}

/** Reads one queue, hands on what is valid, acknowledges everything. */
export class Consumer {
  #newest: ConsumeMessage | undefined;
  #unacknowledged = 0;
  #timer: NodeJS.Timeout | undefined;
  readonly #silence: SilenceWatch;

  constructor(
    private readonly channel: Channel,
    private readonly options: ConsumerOptions,
  ) {
    this.#silence = new SilenceWatch(
      options.clock,
      () => channel.checkExchange(TICK_EXCHANGE),
      options.onDead,
    );
  }

  async start(queue: string): Promise<void> {
    await this.channel.prefetch(PREFETCH);
    await this.channel.consume(queue, (message) => {
      if (message) this.#onMessage(message);
      else this.options.onCancelled();
    });
    this.channel.once('close', () => {
      this.#silence.stop();
      this.#stopTimer();
    });
    this.#silence.start();
  }

  #onMessage(message: ConsumeMessage): void {
    this.#silence.heard();
    this.options.beforeFirst();
    this.#newest = message;
    this.#unacknowledged += 1;
    if (message.fields.exchange === TICK_EXCHANGE) {
      this.#onTick(message.content);
      // Where nothing else comes, a timer would wake this process once more for each tick.
      this.#acknowledge();
    } else {
      this.#onTask(message.content);
      this.#acknowledgeSoon();
    }
  }

  #onTick(body: Buffer): void {
    const tick = decodeTick(body);
    if (tick) this.options.delivery.tick(tick);
    else this.#reject('malformed_tick', 'a tick that is none');
  }

  /** The contract's rules (section 3.3), but for the epoch: a queue as young as its worker holds nothing older. */
  #onTask(body: Buffer): void {
    const decoded = decodeTask(body);
    if (!decoded.ok) {
      if (decoded.reason !== 'foreign') this.#reject(decoded.reason, decoded.detail);
      return;
    }
    if (decoded.noop !== this.options.serverName) this.options.delivery.task(decoded.task);
  }

  #reject(reason: string, detail: string): void {
    this.options.metrics.increment('galaxy.sse.tasks.invalid', 1, { reason });
    this.options.complain.warn({ reason, detail }, 'a message on the bus is not a control task; ignored');
  }

  #acknowledgeSoon(): void {
    if (this.#unacknowledged === ACKNOWLEDGE_EACH) this.#acknowledge();
    else this.#timer ??= setTimeout(() => this.#acknowledge(), ACKNOWLEDGE_AFTER_MS);
  }

  #acknowledge(): void {
    this.#stopTimer();
    this.#unacknowledged = 0;
    try {
      this.channel.ack(this.#newest!, true);
    } catch (error) {
      // The channel closes or is closed, and its queue with it.
      if (!(error instanceof IllegalOperationError)) throw error;
    }
  }

  #stopTimer(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
