import type { ChannelModel, Options } from 'amqplib';
import type { ControlTask, Tick } from '../../core/events.js';
import type { Notice } from '../../core/notices.js';
import type { Clock } from '../../lib/clock.js';
import { withDeadline } from '../../lib/lifecycle.js';
import type { Logger } from '../../telemetry/logger.js';
import type { Metrics } from '../../telemetry/metrics.js';
import { ThrottledLogger } from '../../telemetry/throttled-logger.js';
import { Availability } from '../availability.js';
import { Delivery } from '../delivery.js';
import { DispatchMeter } from '../dispatch-meter.js';
import type { Bus, BusHandler } from '../port.js';
import { TickSequence } from '../tick-sequence.js';
import { encodeNotice, encodeTask, encodeTick } from '../wire/codec.js';
import { BrokerConnection } from './connection.js';
import { Consumer } from './consumer.js';
import { PauseDetector } from './freeze-watch.js';
import { ConfirmPublisher, type Outcome, unavailable, WRITE_BUFFER_FRAMES } from './publisher.js';
import {
  CONTROL_EXCHANGE,
  CONTROL_KEY,
  declareExchange,
  declareQueue,
  NOTICE_KEY,
  PROBE_KEY,
  TICK_KEY,
} from './topology.js';

/** A dead subscription is replaced together with its connection, so there is only one way to recover. */
const NOTHING_COMES_BACK =
  'published messages do not come back: the exchange, its binding or the queue was deleted, or a policy drops messages';
const UNROUTED = "published messages reach no queue, not even this worker's own: its binding was deleted";
/** Shorter than the 5 s for the whole connect. */
const PROOF_DEADLINE_MS = 3_000;

/** The next notice follows within a second. */
const NOTICE_TTL_MS = '3000';

export interface AmqpBusOptions {
  /** `amqp://` or `amqps://`, with the password. */
  url: string;
  /** The name of this process with its worker number. It does not run tasks marked `noop` for this name. */
  serverName: string;
  /** `id_secret`, which all processes of an installation share. It signs ticks. */
  secret: string;
  logger: Logger;
  metrics: Metrics;
  clock: Clock;
  /** A random number from 0 to 1. */
  random: () => number;
  /** Time to live of a task in a queue; 10 s in Galaxy. */
  messageTtlMs?: number;
}

/** The bus on a broker: Galaxy's exchange and message format, and one queue per worker. */
export class AmqpBus implements Bus {
  readonly #options: Required<AmqpBusOptions>;
  readonly #link: BrokerConnection;
  readonly #meter: DispatchMeter;
  readonly #availability: Availability;
  readonly #freeze: PauseDetector;
  /** One per reason. */
  readonly #warnings = new Map<string, ThrottledLogger>();
  #delivery: Delivery | undefined;
  #publisher: ConfirmPublisher | undefined;
  #connectedBefore = false;
  /** `history_update`s on this channel since the last tick. */
  #updates = 0;

  constructor(options: AmqpBusOptions) {
    this.#options = { messageTtlMs: 10_000, ...options };
    const { url, serverName, logger, metrics, clock, random, messageTtlMs } = this.#options;
    this.#meter = new DispatchMeter(metrics, clock);
    this.#availability = new Availability(logger);
    this.#freeze = new PauseDetector(clock, messageTtlMs / 2, () => {
      // Otherwise the reconnect reports the gap.
      if (this.subscribed) this.#delivery?.gap('frozen');
    });
    this.#link = new BrokerConnection({
      url,
      name: `lightcone ${serverName}`,
      logger,
      random,
      setUp: (connection) => this.#setUp(connection),
      onUp: () => this.#updateAvailability(),
      onDown: () => this.#updateAvailability(),
    });
  }

  subscribe(handler: BusHandler): void {
    if (this.#delivery) throw new Error('a bus takes one handler');
    const { clock, messageTtlMs, metrics, logger } = this.#options;
    this.#delivery = new Delivery(handler, new TickSequence(clock, messageTtlMs / 2), metrics, logger);
  }

  async start(signal?: AbortSignal): Promise<void> {
    if (this.#delivery) this.#freeze.start();
    try {
      await this.#link.start(signal);
    } catch (error) {
      this.#freeze.stop();
      throw error;
    }
  }

  async stop(): Promise<void> {
    this.#freeze.stop();
    await this.#link.stop();
    this.#connectedBefore = false;
  }

  get available(): boolean {
    return this.#availability.available;
  }

  get subscribed(): boolean {
    return this.#link.up && this.#delivery !== undefined;
  }

  problem(): string | undefined {
    return this.#link.problem ?? this.#publisher?.problem;
  }

  onAvailable(listener: () => void): () => void {
    return this.#availability.onAvailable(listener);
  }

  publish(task: ControlTask): Promise<void> {
    const { serverName, messageTtlMs } = this.#options;
    // "Elect again" does not concern its sender. It must reach even processes that were busy for longer than events
    // live.
    const body = task.task === 'reconfigure_watcher' ? encodeTask(task, serverName) : encodeTask(task);
    const lifetime = task.task === 'reconfigure_watcher' ? {} : { expiration: String(messageTtlMs) };
    return this.#meter.measure(task.task, () => {
      if (task.task === 'history_update' && this.#publisher?.usable) this.#updates += 1;
      return this.#send(CONTROL_KEY, body, {
        contentType: 'application/json',
        contentEncoding: 'utf-8',
        deliveryMode: 2,
        priority: 0,
        // Marked as a double: amqplib would write a whole second as an integer.
        headers: { epoch: { '!': 'double', value: this.#options.clock.now() / 1e6 } },
        ...lifetime,
      });
    });
  }

  /**
   * A tick lives half as long as a task. So the arrival of a tick proves that no task before it has expired: ticks come
   * every second, and missing ticks show as a gap.
   * But a policy of the broker may set shorter limits, so a tick also carries the number of updates before it.
   */
  async publishTick(tick: Tick): Promise<void> {
    const updates = this.#updates;
    this.#updates = 0;
    await this.#send(TICK_KEY, encodeTick(tick, this.#options.secret, updates), {
      contentType: 'application/json',
      deliveryMode: 1,
      expiration: String(this.#options.messageTtlMs / 2),
    });
  }

  /** Not through `#send`: the delivery of notices proves nothing about tasks. */
  async publishNotice(notice: Notice): Promise<void> {
    if (!this.available || !this.#publisher) throw unavailable(this.problem());
    const { secret, clock } = this.#options;
    await this.#publisher.publish(
      CONTROL_EXCHANGE,
      NOTICE_KEY,
      encodeNotice(notice, secret, Math.round(clock.now() / 1000)),
      {
        contentType: 'application/json',
        deliveryMode: 1,
        expiration: NOTICE_TTL_MS,
      },
    );
  }

  async #send(key: string, body: Buffer, properties: Options.Publish): Promise<Outcome> {
    if (!this.#link.up || !this.#publisher) throw unavailable(this.problem());
    const outcome = await this.#publisher.publish(CONTROL_EXCHANGE, key, body, properties);
    if (outcome === 'routed') return outcome;
    if (this.#delivery) {
      // At least this worker's queue should be bound.
      this.#link.cut(UNROUTED);
      throw unavailable(UNROUTED);
    }
    // No worker is subscribed. Each reads what it missed when it starts, so the cursor may advance.
    this.#warningOf('unrouted').warn(
      {},
      'published messages reach no queue: no worker is connected to this broker and virtual host',
    );
    return outcome;
  }

  async #setUp(connection: ChannelModel): Promise<void> {
    await declareExchange(connection);
    const channel = await connection.createConfirmChannel({ highWaterMark: WRITE_BUFFER_FRAMES });
    this.#cutWhenItFails(channel);
    const publisher = new ConfirmPublisher(channel, {
      onSilence: () => this.#link.cut('it does not confirm published messages'),
      onUsableChange: () => this.#updateAvailability(),
    });
    connection.on('blocked', () => publisher.setBlocked(true));
    connection.on('unblocked', () => publisher.setBlocked(false));
    this.#publisher = publisher;
    this.#updates = 0;
    if (this.#delivery) await this.#consume(connection, publisher, this.#delivery);
    this.#connectedBefore = true;
  }

  async #consume(connection: ChannelModel, publisher: ConfirmPublisher, delivery: Delivery): Promise<void> {
    const { serverName, secret, metrics, clock, random, messageTtlMs } = this.#options;
    const channel = await connection.createChannel();
    this.#cutWhenItFails(channel);
    const queue = `lightcone.${serverName.slice(0, 200)}.${random().toString(36).slice(2, 12)}`;
    await declareQueue(channel, queue, messageTtlMs);
    // Report the gap before the first message of the new queue, because a tick would move the watermark across it.
    // Messages may arrive before `start` resolves, hence the two callers.
    let isGapReported = !this.#connectedBefore;
    const reportGap = () => {
      if (isGapReported) return;
      isGapReported = true;
      delivery.gap('reconnected');
    };
    const consumer = new Consumer(channel, {
      serverName,
      secret,
      delivery,
      metrics,
      warningOf: (reason) => this.#warningOf(reason),
      clock,
      beforeFirst: reportGap,
      probe: () => {
        if (!publisher.usable) return false;
        probe(publisher).then((outcome) => outcome === 'unrouted' && this.#link.cut(UNROUTED), ignore);
        return true;
      },
      onCancelled: () => this.#link.cut('it cancelled the consumer (the queue was deleted)'),
      onDead: () => this.#link.cut(NOTHING_COMES_BACK),
    });
    delivery.begin();
    await consumer.start(queue);
    await prove(publisher, consumer);
    reportGap();
  }

  #warningOf(reason: string): ThrottledLogger {
    const { logger, clock } = this.#options;
    const warning = this.#warnings.get(reason) ?? new ThrottledLogger(logger, clock);
    this.#warnings.set(reason, warning);
    return warning;
  }

  #cutWhenItFails(channel: { on(event: 'error', listener: (error: Error) => void): unknown }): void {
    channel.on('error', (error) => this.#link.cut(error.message));
  }

  #updateAvailability(): void {
    this.#availability.set(this.#link.up && this.#publisher?.usable === true);
  }
}

const ignore = (): void => {};

/** Takes the same path as tasks. */
function probe(publisher: ConfirmPublisher): Promise<Outcome> {
  return publisher.publish(CONTROL_EXCHANGE, PROBE_KEY, Buffer.alloc(0), {
    deliveryMode: 1,
    expiration: '5000',
  });
}

/** Proves a subscription by a message that comes through it. This is impossible while the broker blocks publishing. */
async function prove(publisher: ConfirmPublisher, consumer: Consumer): Promise<void> {
  const came = probe(publisher).then(
    (outcome) => {
      if (outcome === 'unrouted') throw new Error(UNROUTED);
      return consumer.proved;
    },
    (error) => {
      if (!publisher.blocked) throw error;
    },
  );
  await withDeadline(came, PROOF_DEADLINE_MS, () => new Error(NOTHING_COMES_BACK));
}
