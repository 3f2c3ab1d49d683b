/** For the demo's picture: when the last changes reached each hop. The hops themselves do not know of it. */
import type { Bus, BusHandler } from '../../bus/port.js';
import type { ControlTask, HistoryUpdateTask, Task, Tick } from '../../core/events.js';
import type { Notice } from '../../core/notices.js';
import type { DemoPathSource, ReachedHops } from '../../http/routes/demo-path.js';
import type { Micros } from '../../lib/time.js';

const REMEMBERED = 100;

export class DemoPath implements DemoPathSource {
  private readonly changes = new Map<Micros, ReachedHops>();

  /** @param now milliseconds of the Unix epoch, with fractions */
  constructor(readonly now: () => number) {}

  reached(hop: keyof ReachedHops, task: Task): void {
    const { updateTime, earlier } = task as HistoryUpdateTask;
    if (task.task !== 'history_update' || updateTime === undefined) return;
    const at = this.now();
    for (const before of new Set([0, ...(earlier?.values() ?? [])])) {
      const change = updateTime - before;
      const hops = this.changes.get(change) ?? {};
      hops[hop] ??= at;
      this.changes.set(change, hops);
    }
    for (const change of this.changes.keys()) {
      if (this.changes.size <= REMEMBERED) break;
      this.changes.delete(change);
    }
  }

  of(change: Micros): ReachedHops | undefined {
    return this.changes.get(change);
  }
}

/** A bus that records what is published and received. */
export class FollowedBus implements Bus {
  constructor(
    private readonly bus: Bus,
    private readonly path: DemoPath,
  ) {}

  get available(): boolean {
    return this.bus.available;
  }

  get subscribed(): boolean {
    return this.bus.subscribed;
  }

  publish(task: ControlTask): Promise<void> {
    this.path.reached('monitor', task);
    return this.bus.publish(task);
  }

  subscribe(handler: BusHandler): void {
    this.bus.subscribe({
      ...handler,
      onTask: (task) => {
        this.path.reached('bus', task);
        handler.onTask(task);
        // By then the worker has written to the sockets.
        setImmediate(() => this.path.reached('worker', task));
      },
    });
  }

  publishTick = (tick: Tick): Promise<void> => this.bus.publishTick(tick);
  publishNotice = (notice: Notice): Promise<void> => this.bus.publishNotice(notice);
  onAvailable = (listener: () => void): (() => void) => this.bus.onAvailable(listener);
  problem = (): string | undefined => this.bus.problem();
  start = (signal?: AbortSignal): Promise<void> => this.bus.start(signal);
  stop = (): Promise<void> => this.bus.stop();
}
