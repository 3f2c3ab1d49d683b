import { type Channel, type ConsumeMessage, IllegalOperationError } from 'amqplib';
import type { Clock } from '../../lib/clock.js';
import type { Metrics, TagsOf } from '../../telemetry/metrics.js';
import type { ThrottledLogger } from '../../telemetry/throttled-logger.js';
import type { Delivery } from '../delivery.js';
import { decodeNotice, decodeTask, decodeTick } from '../wire/codec.js';
import { SilenceDetector } from './silence-watch.js';
import { CONTROL_EXCHANGE, NOTICE_KEY, PROBE_KEY, TICK_KEY } from './topology.js';

/**
 * Maximum number of unacknowledged messages. Acknowledgements serve only this limit, because the queue dies with the
 * worker and nothing is redelivered. Without it the backlog of a slow worker would leave the queue, which bounds its
 * length and age, for the unbounded memory of the broker.
 */
const PREFETCH = 2_000;
/** An acknowledgement is a system call and costs more than the messages, so one covers this many of them, */
const ACKNOWLEDGE_EACH = PREFETCH / 4;
/** or all of this time, */
const ACKNOWLEDGE_AFTER_MS = 100;
/**
 * or all of this time if no tick arrives: a broker closes a channel that acknowledges too late (`consumer_timeout`).
 */
const ACKNOWLEDGE_WITHOUT_TICKS_MS = 5_000;

const JSON_TYPE = 'application/json';

export interface ConsumerOptions {
  serverName: string;
  /** The secret that signs ticks. */
  secret: string;
  delivery: Delivery;
  metrics: Metrics;
  /** One logger per reason, so that a flood of one kind does not hide another. */
  warningOf: (reason: string) => ThrottledLogger;
  clock: Clock;
  /** Called before the first message is handed on, and by the bus after the subscription. */
  beforeFirst: () => void;
  /** The broker cancelled the consumer (its queue was deleted). */
  onCancelled: () => void;
  /** Publishes a message that should come back. @returns false if that is impossible now */
  probe: () => boolean;
  /** The probe did not come back. */
  onDead: () => void;
}

/** Consumes one queue: hands valid messages on, acknowledges all. */
export class Consumer {
  #newest: ConsumeMessage | undefined;
  #unacknowledged = 0;
  #timer: NodeJS.Timeout | undefined;
  #soon = false;
  readonly #silence: SilenceDetector;
  #proved = () => {};
  /** Resolves when the first message has come through the exchange. */
  readonly proved = new Promise<void>((resolve) => {
    this.#proved = resolve;
  });

  constructor(
    private readonly channel: Channel,
    private readonly options: ConsumerOptions,
  ) {
    this.#silence = new SilenceDetector(options.clock, options.probe, options.onDead);
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
    const { exchange, routingKey } = message.fields;
    this.options.beforeFirst();
    this.#newest = message;
    this.#unacknowledged += 1;
    if (exchange !== CONTROL_EXCHANGE) {
      // A program published it directly to the queue, so it proves nothing about the exchange.
      this.#reject('misdirected', `a message that did not come through ${CONTROL_EXCHANGE}`);
      this.#acknowledgeSoon();
      return;
    }
    this.#silence.heard();
    this.#proved();
    if (routingKey === TICK_KEY) {
      this.#onTick(message.content);
      // A timer would wake this process once more for each tick.
      this.#acknowledge();
    } else if (routingKey === NOTICE_KEY) {
      this.#onNotice(message.content);
      this.#acknowledgeLater();
    } else {
      if (routingKey !== PROBE_KEY) this.#onTask(message);
      this.#acknowledgeSoon();
    }
  }

  #onTick(body: Buffer): void {
    const tick = decodeTick(body, this.options.secret);
    if (tick.ok) this.options.delivery.tick(tick.tick, tick.updates);
    else this.#reject(tick.reason, tick.detail);
  }

  #onNotice(body: Buffer): void {
    const notice = decodeNotice(body, this.options.secret, this.options.clock.now() / 1000);
    if (notice.ok) this.options.delivery.notice(notice.notice);
    else this.#reject(notice.reason, notice.detail);
  }

  /**
   * The rules of the contract, section 3.3, except the epoch: the queue is as young as its worker and holds nothing
   * older.
   */
  #onTask({ content, properties }: ConsumeMessage): void {
    const { contentType } = properties as { contentType?: unknown };
    if (contentType !== undefined && contentType !== JSON_TYPE) {
      // kombu refuses these, too.
      this.#reject('content_type', `a message whose content_type is not ${JSON_TYPE}`);
      return;
    }
    const decoded = decodeTask(content);
    if (!decoded.ok) {
      if (decoded.reason !== 'foreign') this.#reject(decoded.reason, decoded.detail);
      return;
    }
    if (decoded.noop !== this.options.serverName) this.options.delivery.task(decoded.task);
  }

  #reject(reason: TagsOf<'galaxy.sse.tasks.invalid'>['reason'], detail: string): void {
    this.options.metrics.increment('galaxy.sse.tasks.invalid', 1, { reason });
    this.options.warningOf(reason).warn({ reason, detail }, 'message on the bus ignored');
  }

  #acknowledgeSoon(): void {
    if (this.#unacknowledged >= ACKNOWLEDGE_EACH) this.#acknowledge();
    else if (!this.#soon) {
      this.#stopTimer();
      this.#soon = true;
      this.#timer = setTimeout(() => this.#acknowledge(), ACKNOWLEDGE_AFTER_MS);
    }
  }

  #acknowledgeLater(): void {
    if (this.#unacknowledged >= ACKNOWLEDGE_EACH) this.#acknowledge();
    else this.#timer ??= setTimeout(() => this.#acknowledge(), ACKNOWLEDGE_WITHOUT_TICKS_MS);
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
    this.#soon = false;
  }
}
