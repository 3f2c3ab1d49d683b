/**
 * The simulated broker. What one connection publishes stays in order; between connections and on the way to each worker
 * everything may be late. A connection that is cut loses what was on its way, in both directions.
 */
import { PauseDetector } from '../../../src/bus/amqp/freeze-watch.js';
import { Availability } from '../../../src/bus/availability.js';
import { Delivery } from '../../../src/bus/delivery.js';
import type { Bus, BusHandler } from '../../../src/bus/port.js';
import { TickSequence } from '../../../src/bus/tick-sequence.js';
import { LightconeError } from '../../../src/core/errors.js';
import type { ControlTask, Tick } from '../../../src/core/events.js';
import { createLogger } from '../../../src/telemetry/logger.js';
import { noMetrics } from '../../../src/telemetry/metrics.js';
import type { SimProcess, SimulatedTime } from './time.js';

const TASK_TTL_MS = 10_000;
const TICK_TTL_MS = 5_000;
/** Of a confirm. */
const DEADLINE_MS = 3_000;
const logger = createLogger('silent');

type Message = { task: ControlTask } | { tick: Tick; updates: number };
const isUpdate = (message: Message): boolean => 'task' in message && message.task.task === 'history_update';
type Queue = (message: Message) => void;

export class SimBroker {
  readonly queues = new Set<Queue>();
  up = true;
  /** Until then it takes seconds to take a message. */
  slowUntil = 0;
  /** Until then there is no exchange: what is published is refused. */
  noExchangeUntil = 0;
  /** Until then a policy drops updates that wait in a queue, and no ticks. */
  dropsUntil = 0;

  constructor(
    readonly time: SimulatedTime,
    /** The longest time on each of the two ways. */
    readonly delayMs: number,
  ) {}
}

interface OnItsWay {
  arrive: () => void;
  lose: () => void;
}

/** One process's connection. */
export class SimBus implements Bus {
  private delivery: Delivery | undefined;
  private readonly availability = new Availability(logger);
  private readonly freeze: PauseDetector;
  private readonly onItsWay = new Set<OnItsWay>();
  private queue: Queue | undefined;
  private epoch = 0;
  private up = false;
  private connectedBefore = false;
  private lastPublish = 0;
  private lastDelivery = 0;
  private stopped = false;
  /** Messages that come before this moment wait until then in the queue. */
  private readsFrom = 0;
  /** Since the last tick. */
  private updates = 0;

  constructor(
    private readonly broker: SimBroker,
    private readonly process: SimProcess,
  ) {
    this.freeze = new PauseDetector(broker.time, TASK_TTL_MS / 2, () => {
      if (this.subscribed) this.delivery?.gap('frozen');
    });
  }

  async publishNotice(): Promise<void> {}

  subscribe(handler: BusHandler): void {
    const ticks = new TickSequence(this.broker.time, TASK_TTL_MS / 2);
    this.delivery = new Delivery(handler, ticks, noMetrics, logger);
  }

  async start(): Promise<void> {
    if (this.delivery) this.freeze.start();
    while (!this.up) await this.connect();
  }

  async stop(): Promise<void> {
    this.stopped = true;
    this.freeze.stop();
    this.disconnect();
  }

  get available(): boolean {
    return this.availability.available;
  }

  get subscribed(): boolean {
    return this.up && this.delivery !== undefined;
  }

  problem(): string | undefined {
    return this.up ? undefined : 'away';
  }

  onAvailable(listener: () => void): () => void {
    return this.availability.onAvailable(listener);
  }

  private async connect(): Promise<void> {
    const { time } = this.broker;
    await time.sleep(time.between(20, 500));
    if (!this.broker.up || this.stopped || this.up) return;
    this.up = true;
    this.updates = 0;
    this.lastDelivery = time.ms;
    if (this.delivery) this.bind(this.delivery);
    this.availability.set(true);
  }

  private bind(delivery: Delivery): void {
    const { time, delayMs, queues } = this.broker;
    const { epoch } = this;
    this.queue = (message) => {
      const enqueuedAt = time.ms;
      this.lastDelivery = Math.max(this.lastDelivery, this.readsFrom, time.ms + time.between(0, delayMs));
      time.after(this.lastDelivery - time.ms, this.process, () => {
        if (epoch !== this.epoch) return;
        const ttl = 'tick' in message ? TICK_TTL_MS : TASK_TTL_MS;
        // What waits for a process that stands still grows too old in its queue.
        if (time.ms - enqueuedAt > Math.max(ttl, delayMs)) return;
        if (this.broker.dropsUntil > enqueuedAt && isUpdate(message) && time.random() < 0.5) return;
        if ('tick' in message) delivery.tick(message.tick, message.updates);
        else delivery.task(message.task);
      });
    };
    queues.add(this.queue);
    delivery.begin();
    if (this.connectedBefore) delivery.gap('reconnected');
    this.connectedBefore = true;
  }

  private disconnect(): void {
    this.up = false;
    this.epoch += 1;
    if (this.queue) this.broker.queues.delete(this.queue);
    this.availability.set(false);
    const { time } = this.broker;
    // The first few had left before the cut: the broker has them, and their publisher never hears of it.
    let arriving = Math.floor(time.between(0, this.onItsWay.size + 1));
    for (const message of [...this.onItsWay]) {
      if (arriving > 0) message.arrive();
      arriving -= 1;
      message.lose();
    }
  }

  /** Takes nothing from its queue for a while, although it runs: what waits there grows old. */
  lag(ms: number): void {
    this.readsFrom = this.broker.time.ms + ms;
  }

  /** Broken now, noticed after `silentMs`, tried again after `awayMs`. */
  cut(silentMs: number, awayMs: number): void {
    const { time } = this.broker;
    if (!this.up) return;
    const { epoch } = this;
    // Nothing comes in any more, although the process believes in the connection.
    if (this.queue) this.broker.queues.delete(this.queue);
    this.epoch += 1;
    const cutEpoch = epoch + 1;
    time.after(silentMs, this.process, () => {
      if (this.epoch !== cutEpoch || this.stopped) return;
      this.disconnect();
      const again = (): void => {
        if (this.stopped || this.up) return;
        void this.connect().then(() => {
          if (!this.up) time.after(500, this.process, again);
        });
      };
      time.after(awayMs, this.process, again);
    });
  }

  publish(task: ControlTask): Promise<void> {
    if (this.up && task.task === 'history_update') this.updates += 1;
    return this.send({ task });
  }

  publishTick(tick: Tick): Promise<void> {
    const { updates } = this;
    this.updates = 0;
    return this.send({ tick, updates });
  }

  private send(message: Message): Promise<void> {
    const { time, delayMs, queues } = this.broker;
    if (!this.up) return Promise.reject(new LightconeError('BUS_UNAVAILABLE', 'away'));
    const slow = this.broker.slowUntil > time.ms ? time.between(0, 5_000) : 0;
    this.lastPublish = Math.max(this.lastPublish, time.ms + time.between(0, delayMs) + slow);
    const { epoch, process } = this;
    return new Promise((resolve, reject) => {
      const fail = (): void => reject(new LightconeError('BUS_UNAVAILABLE', 'lost'));
      const onItsWay: OnItsWay = {
        arrive: () => {
          this.onItsWay.delete(onItsWay);
          for (const queue of [...queues]) queue(message);
        },
        lose: () => {
          this.onItsWay.delete(onItsWay);
          time.after(0, process, fail);
        },
      };
      this.onItsWay.add(onItsWay);
      // The broker may take it all the same, later.
      if (this.lastPublish - time.ms > DEADLINE_MS) time.after(DEADLINE_MS, process, fail);
      time.after(this.lastPublish - time.ms, undefined, () => {
        if (!this.onItsWay.has(onItsWay)) return;
        if (epoch !== this.epoch || this.broker.noExchangeUntil > time.ms) {
          onItsWay.lose();
          return;
        }
        onItsWay.arrive();
        // The confirm; now and then it is what gets lost.
        if (time.random() < 0.02) time.after(DEADLINE_MS, process, fail);
        else time.after(time.between(0, 10), process, resolve);
      });
    });
  }
}
