/**
 * The bus carries control tasks and ticks from the monitor and other producers to every worker.
 *
 * Two real implementations: `in-process` (the embedded default) and `amqp`. One contract suite runs against both
 * (`test/contract/bus.test.ts`).
 */
import type { ControlTask, Task, Tick } from '../core/events.js';
import type { Notice } from '../core/notices.js';
import type { Lifecycle } from '../lib/lifecycle.js';

/** Why messages may have been missed since the last tick. */
export type GapCause = 'reconnected' | 'tick_lost' | 'frozen' | 'handler_failed';

/** What a consumer is told. Calls come in the order of the channel; one that throws has missed what it was told. */
export interface BusHandler {
  onTask(task: Task): void;
  onTick(tick: Tick): void;
  /** Called after the subscription is whole again: from here on nothing is missed, but something before may have been. */
  onGap(cause: GapCause): void;
  /** What a process of this installation tells of itself; its own ones come back as well. */
  onNotice?(notice: Notice): void;
}

export interface Publisher {
  /**
   * Resolves when the broker has taken the task (publisher confirm), so that a cursor may pass it.
   *
   * @throws LightconeError BUS_UNAVAILABLE when the bus is away or does not confirm within its deadline. The caller keeps
   * its cursor; the bus keeps nothing.
   */
  publish(task: ControlTask): Promise<void>;
  /** Publishes on the tick exchange, on the same channel as the tasks, and waits for the confirm. Throws as `publish`. */
  publishTick(tick: Tick): Promise<void>;
  /** True while a publish can be expected to work. */
  readonly available: boolean;
  /** Called whenever the bus becomes available (again). Returns a function that removes the listener. */
  onAvailable(listener: () => void): () => void;
}

export interface NoticePublisher {
  /** For the other processes of the installation; nobody else's queues take it. Throws as `publish`. */
  publishNotice(notice: Notice): Promise<void>;
}

export interface Subscriber {
  /** At most one handler per bus; set before `start`. Without a handler no queue is declared. */
  subscribe(handler: BusHandler): void;
  /** True while the subscription is whole. */
  readonly subscribed: boolean;
}

/** `start` resolves when connected, or rejects when aborted; a neighbour that is late is waited for with back-off. */
export interface Bus extends Publisher, NoticePublisher, Subscriber, Lifecycle {
  /** For `/readyz` and the status page: one line of what is wrong, or undefined when all is well. */
  problem(): string | undefined;
}
