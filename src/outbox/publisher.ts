/**
 * Carries the outbox to the bus. Every process does so right after its own commits; the leader also looks after what others
 * left behind: entries of a process that died, and scheduled ones whose creator is gone.
 *
 * ```
 *   wake (own commit, a look after a foreign one, bus back, gained the role, timer) ──► claim ──► publish, confirmed ──► remove
 *                                                         └─ failed ──► release, try again when the bus is back
 * ```
 */
import type { Publisher } from '../bus/port.js';
import { LightconeError } from '../core/errors.js';
import type { Sql } from '../database/port.js';
import { Backoff } from '../lib/backoff.js';
import type { Logger } from '../telemetry/logger.js';
import { type NotificationSource, tasksOf } from './entry-tasks.js';
import type { AddOptions, ClaimedEntry, ForeignEntry, Outbox, OutboxEntry } from './outbox.js';
import type { OutboxWriter } from './writer.js';

/** Interval at which the leader checks the outbox without being woken. */
const SWEEP_MS = 30_000;
/** A longer timer would fire at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

export interface OutboxPublisherOptions {
  outbox: Outbox;
  bus: Publisher;
  notifications: NotificationSource;
  encodeId: (id: number) => string;
  logger: Logger;
  random: () => number;
}

export class OutboxPublisher implements OutboxWriter {
  private readonly backoff: Backoff;
  private timer: NodeJS.Timeout | undefined;
  private running: Promise<void> | undefined;
  private again = false;
  private leading = false;
  private looking = false;
  private stopped = true;
  private failing = false;
  /** Of which the log has told. */
  private readonly foreignKinds = new Set<string>();
  private removeBusListener: () => void = () => {};

  constructor(private readonly parts: OutboxPublisherOptions) {
    this.backoff = new Backoff(100, 10_000, parts.random);
  }

  start(): void {
    if (!this.stopped) return;
    this.stopped = false;
    this.removeBusListener = this.parts.bus.onAvailable(() => this.wake());
    // Entries that this process left behind when it last stopped.
    this.wake();
  }

  /** Finishes the current publish. Other entries stay in the database. */
  async stop(): Promise<void> {
    this.stopped = true;
    this.removeBusListener();
    clearTimeout(this.timer);
    await this.running;
  }

  async gain(): Promise<void> {
    this.leading = true;
    this.wake();
  }

  async lose(): Promise<void> {
    this.leading = false;
  }

  add(tx: Sql, entry: OutboxEntry, options?: AddOptions): Promise<void> {
    return this.parts.outbox.add(tx, entry, options);
  }

  wake(): void {
    if (this.stopped) return;
    this.again = true;
    this.running ??= this.run();
  }

  /** Another process may have added an entry. Read-only unless it did, so that it costs other writers nothing. */
  async look(): Promise<void> {
    if (this.stopped || this.looking) return;
    this.looking = true;
    try {
      if ((await this.parts.outbox.nextInMs()) === 0) this.wake();
    } catch {
      // The next check or sweep finds the rest.
    } finally {
      this.looking = false;
    }
  }

  /** Resolves when all due entries were published or failed. */
  async idle(): Promise<void> {
    while (this.running) await this.running;
  }

  private async run(): Promise<void> {
    clearTimeout(this.timer);
    let nextMs: number | undefined;
    while (this.again && !this.stopped) {
      this.again = false;
      try {
        nextMs = await this.carry();
        this.backoff.reset();
        if (this.failing) this.parts.logger.info('outbox drained: the delayed events are published');
        this.failing = false;
      } catch (error) {
        nextMs = this.backoff.next();
        if (!this.failing) {
          this.parts.logger.warn(
            { err: error },
            'outbox cannot be published: its entries stay in the database and are retried',
          );
        }
        this.failing = true;
      }
    }
    // No await between the check of `again` and this line, or a wake-up would be lost.
    this.running = undefined;
    this.schedule(nextMs);
  }

  /** @returns milliseconds until the next entry is due */
  private async carry(): Promise<number | undefined> {
    const { outbox, bus } = this.parts;
    // The bus wakes it when it is back.
    if (!bus.available) return undefined;
    for (let more = true; more && !this.stopped; ) {
      const batch = await outbox.claim();
      more = batch.more;
      for (const entry of batch.foreign) await this.leave(entry);
      await this.publish(batch.claimed);
    }
    return outbox.nextInMs();
  }

  private async publish(claimed: readonly ClaimedEntry[]): Promise<void> {
    const { outbox, bus, notifications, encodeId, logger } = this.parts;
    const done: number[] = [];
    try {
      for (const { id, entry } of claimed) {
        try {
          const tasks = await tasksOf(entry, notifications, encodeId);
          await Promise.all(tasks.map((task) => bus.publish(task)));
        } catch (error) {
          if (isTransient(error)) throw error;
          // A poison message: it would fail for ever and block everything behind it.
          logger.error({ err: error, entry }, 'outbox entry dropped: it can never be published');
        }
        done.push(id);
      }
      await outbox.remove(done);
    } catch (error) {
      const left = claimed.map(({ id }) => id).filter((id) => !done.includes(id));
      // If the database is unavailable, too, the claim expires.
      await outbox.remove(done).catch(() => {});
      await outbox.release(left).catch(() => {});
      throw error;
    }
  }

  /** While an installation is upgraded, both versions work together. */
  private async leave({ id, kind, isOver }: ForeignEntry): Promise<void> {
    const { outbox, logger } = this.parts;
    if (isOver) {
      logger.error(
        { kind },
        'outbox entry dropped: within a day no process published it, and this one does not know its kind',
      );
      await outbox.remove([id]);
      return;
    }
    if (!this.foreignKinds.has(kind)) {
      logger.warn(
        { kind },
        'outbox entries of a newer version are left to its processes, for a day: upgrade this one',
      );
    }
    this.foreignKinds.add(kind);
    await outbox.leave(id);
  }

  private schedule(nextMs: number | undefined): void {
    if (this.stopped) return;
    clearTimeout(this.timer);
    if (nextMs !== undefined && (!this.leading || nextMs < SWEEP_MS)) {
      this.timer = setTimeout(() => this.wake(), Math.min(nextMs, LONGEST_TIMER_MS));
    } else if (this.leading) {
      this.timer = setTimeout(() => void this.sweep(), SWEEP_MS);
    }
  }

  /** Read-only while the outbox is empty, so an idle leader costs the database next to nothing. */
  private async sweep(): Promise<void> {
    const nextMs = await this.parts.outbox.nextInMs().catch(() => 0);
    // A run that was woken meanwhile does the work.
    if (this.running) return;
    if (nextMs === 0) this.wake();
    else this.schedule(nextMs);
  }
}

const isTransient = (error: unknown): boolean => error instanceof LightconeError && error.entry.retryable;
