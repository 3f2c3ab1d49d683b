import { LightconeError } from '../../core/errors.js';
import type { ControlTask, Tick } from '../../core/events.js';
import type { Notice } from '../../core/notices.js';
import type { Clock } from '../../lib/clock.js';
import type { Logger } from '../../telemetry/logger.js';
import type { Metrics } from '../../telemetry/metrics.js';
import { Availability } from '../availability.js';
import { Delivery } from '../delivery.js';
import { DispatchMeter } from '../dispatch-meter.js';
import type { Bus, BusHandler } from '../port.js';
import { TickSequence } from '../tick-sequence.js';

export interface InProcessBusOptions {
  logger: Logger;
  metrics: Metrics;
  clock: Clock;
}

/** The embedded bus: worker and monitor share a process, so a task is passed on as an object. */
export class InProcessBus implements Bus {
  readonly #meter: DispatchMeter;
  readonly #availability: Availability;
  #delivery: Delivery | undefined;
  #waiting: { hand: (delivery: Delivery) => void; done: () => void }[] = [];

  constructor(private readonly options: InProcessBusOptions) {
    this.#meter = new DispatchMeter(options.metrics, options.clock);
    this.#availability = new Availability(options.logger);
  }

  subscribe(handler: BusHandler): void {
    if (this.#delivery) throw new Error('a bus takes one handler');
    const { clock, metrics, logger } = this.options;
    // Nothing expires here, however late a tick is.
    this.#delivery = new Delivery(
      handler,
      new TickSequence(clock, Number.POSITIVE_INFINITY),
      metrics,
      logger,
    );
  }

  async start(signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    this.#availability.set(true);
  }

  /** Delivers everything published before: the publisher has its confirmation. */
  async stop(): Promise<void> {
    this.#availability.set(false);
    this.#deliver();
  }

  get available(): boolean {
    return this.#availability.available;
  }

  get subscribed(): boolean {
    return this.available && this.#delivery !== undefined;
  }

  problem(): string | undefined {
    return this.available ? undefined : 'the bus is not running';
  }

  onAvailable(listener: () => void): () => void {
    return this.#availability.onAvailable(listener);
  }

  publish(task: ControlTask): Promise<void> {
    return this.#meter.measure(task.task, async () => {
      // It is for other processes, and there are none.
      await this.#send(task.task === 'reconfigure_watcher' ? () => {} : (delivery) => delivery.task(task));
      return this.#delivery ? 'routed' : 'unrouted';
    });
  }

  publishTick(tick: Tick): Promise<void> {
    return this.#send((delivery) => delivery.tick(tick));
  }

  publishNotice(notice: Notice): Promise<void> {
    return this.#send((delivery) => delivery.notice(notice));
  }

  /** Resolves after delivery, so that a publisher in a loop cannot fill the memory. */
  async #send(hand: (delivery: Delivery) => void): Promise<void> {
    if (!this.available) throw new LightconeError('BUS_UNAVAILABLE', 'The in-process bus is not running.');
    await new Promise<void>((done) => {
      if (this.#waiting.length === 0) setImmediate(() => this.#deliver());
      this.#waiting.push({ hand, done });
    });
  }

  #deliver(): void {
    const batch = this.#waiting;
    this.#waiting = [];
    for (const { hand, done } of batch) {
      if (this.#delivery) hand(this.#delivery);
      done();
    }
  }
}
