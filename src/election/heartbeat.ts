/**
 * The rows of `worker_process`: this process's own, and those of the others. They decide nothing. They inform Galaxy
 * and `doctor`, and order the candidates for a free lock.
 */
import type { Micros } from '../core/events.js';
import type { WorkerProcesses, WorkerProcessRow } from '../database/port.js';
import type { Clock } from '../lib/clock.js';
import type { Logger } from '../telemetry/logger.js';
import { type AppType, isBetter } from './rank.js';

/** A row counts as alive for this long after its last heartbeat (contract, section 2). */
const ACTIVE_MS = 61_000;
/** A living process writes its row after 1.1 heartbeats; what is later than this is dead. */
const missedAfterMs = (heartbeatMs: number): number => heartbeatMs + Math.max(1_000, heartbeatMs / 2);

export interface HeartbeatOptions {
  self: { serverName: string; hostname: string; pid: number; appType: AppType };
  workerProcesses: WorkerProcesses;
  heartbeatMs: number;
  logger: Logger;
  clock: Clock;
}

export class Heartbeat {
  readonly #o: HeartbeatOptions;
  /** The rows of living processes. */
  #others: WorkerProcessRow[] = [];
  #beatAt = Number.NEGATIVE_INFINITY;
  #countFrom: Micros | undefined;
  #failing = false;

  constructor(options: HeartbeatOptions) {
    this.#o = options;
  }

  get dueInMs(): number {
    return this.#beatAt + this.#o.heartbeatMs - this.#o.clock.monotonic();
  }

  /** A failing heartbeat does not prevent leading. */
  async beat(): Promise<void> {
    const { workerProcesses, self, heartbeatMs, clock, logger } = this.#o;
    this.#beatAt = clock.monotonic();
    try {
      const { now, active } = await workerProcesses.beat(self, Math.max(ACTIVE_MS, 2 * heartbeatMs));
      this.#countFrom ??= now;
      this.#others = active.filter(
        ({ updateTime }) => (now - updateTime) / 1_000 < missedAfterMs(heartbeatMs),
      );
      this.#failing = false;
    } catch (error) {
      if (!this.#failing) {
        logger.warn({ err: error }, 'heartbeat not written: retrying');
      }
      this.#failing = true;
    }
  }

  /**
   * Makes the next heartbeat due at once. Only processes with a heartbeat after this moment count as newcomers; the
   * previous leader is among the others.
   */
  beginTenure(): void {
    this.#beatAt = Number.NEGATIVE_INFINITY;
    this.#countFrom = undefined;
    this.#others = [];
  }

  /** The number of better candidates with a fresh heartbeat. */
  get rivals(): number {
    return this.#others.filter((row) => isBetter(row, this.#o.self)).length;
  }

  /** Standalone monitors with a fresh heartbeat. */
  get monitors(): readonly WorkerProcessRow[] {
    return this.#others.filter(({ appType }) => appType === 'sse_monitor');
  }

  /** A standalone monitor with a heartbeat in this tenure. */
  get monitor(): string | undefined {
    const from = this.#countFrom ?? Number.POSITIVE_INFINITY;
    return this.monitors.find(({ updateTime }) => updateTime > from)?.serverName;
  }
}
