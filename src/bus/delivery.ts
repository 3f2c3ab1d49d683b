import type { Task, Tick } from '../core/events.js';
import type { Notice } from '../core/notices.js';
import type { Logger } from '../telemetry/logger.js';
import type { Metrics } from '../telemetry/metrics.js';
import type { BusHandler, GapCause } from './port.js';
import type { TickSequence } from './tick-sequence.js';

/** The last step of every bus: counts messages for the handler, and survives a failing handler. */
export class Delivery {
  constructor(
    private readonly handler: BusHandler,
    private readonly ticks: TickSequence,
    private readonly metrics: Metrics,
    private readonly logger: Logger,
  ) {}

  task(task: Task): void {
    this.metrics.increment('galaxy.sse.tasks.received', 1, { task: task.task });
    if (task.task === 'history_update') this.ticks.heardUpdate();
    this.#orGap(() => this.handler.onTask(task));
  }

  /** @param updates published by its leader since the tick before */
  tick(tick: Tick, updates?: number): void {
    // Before the tick, which moves the watermark past the loss.
    if (this.ticks.missedBefore(tick, updates)) this.gap('tick_lost');
    this.#orGap(() => this.handler.onTick(tick));
  }

  notice(notice: Notice): void {
    this.#guard(() => this.handler.onNotice?.(notice));
  }

  /** Starts a subscription: the next tick is its first. */
  begin(): void {
    this.ticks.begin();
  }

  gap(cause: GapCause): void {
    this.#guard(() => this.handler.onGap(cause));
  }

  /** A failed handler is a gap: the worker reads the database before the next tick moves the watermark past the message. */
  #orGap(call: () => void): void {
    if (!this.#guard(call)) this.gap('handler_failed');
  }

  /** @returns whether it went well */
  #guard(call: () => void): boolean {
    try {
      call();
      return true;
    } catch (error) {
      this.logger.error({ err: error }, 'message from the bus not handled: please report this error');
      return false;
    }
  }
}
