/**
 * The bus carries control tasks and ticks from the monitor and other producers to every worker.
 * It has two implementations: `in-process` (the embedded default) and `amqp`. One contract suite runs against both
 * (`test/contract/bus.test.ts`).
 */
import type { ControlTask, Task, Tick } from '../core/events.js';
import type { Notice } from '../core/notices.js';
import type { Lifecycle } from '../lib/lifecycle.js';

/** Why messages may be missing since the last tick. */
export type GapCause = 'reconnected' | 'tick_lost' | 'frozen' | 'handler_failed';

/** The callbacks of a consumer, called in the order of the channel. If one throws, the bus reports a gap. */
export interface BusHandler {
  onTask(task: Task): void;
  onTick(tick: Tick): void;
  /** The subscription works again. Messages before this call may be missing; later ones are not. */
  onGap(cause: GapCause): void;
  /** A message of a process of this installation about itself, including this process. */
  onNotice?(notice: Notice): void;
}

export interface Publisher {
  /**
   * Resolves when the broker has accepted the task (publisher confirm), so that a cursor may pass it.
   * @throws LightconeError BUS_UNAVAILABLE if the bus is unavailable or does not confirm in time. The caller keeps its
   * cursor; the bus keeps nothing.
   */
  publish(task: ControlTask): Promise<void>;
  /** Publishes a tick on the channel of the tasks, and waits for the confirm. Throws as `publish`. */
  publishTick(tick: Tick): Promise<void>;
  /** True while a publish should work. */
  readonly available: boolean;
  /** Calls the listener whenever the bus becomes available (again). Returns a function that removes the listener. */
  onAvailable(listener: () => void): () => void;
}

export interface NoticePublisher {
  /** Publishes to the other processes of the installation; no other queue receives it. Throws as `publish`. */
  publishNotice(notice: Notice): Promise<void>;
}

export interface Subscriber {
  /** Sets the handler; call it once, before `start`. A bus without a handler declares no queue. */
  subscribe(handler: BusHandler): void;
  /** True while the subscription works. */
  readonly subscribed: boolean;
}

/** `start` resolves when connected and rejects when aborted. It retries an unavailable broker with back-off. */
export interface Bus extends Publisher, NoticePublisher, Subscriber, Lifecycle {
  /** For `/readyz` and the status page: one line about the problem, or undefined. */
  problem(): string | undefined;
}
