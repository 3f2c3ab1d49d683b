/**
 * One tenure of the monitor's role, from taking the lock to its release. It lasts while the lock is held and the broker
 * confirms messages.
 */

import type { LeaderLock } from '../database/port.js';
import { setAlignedInterval } from '../lib/aligned-interval.js';
import type { Clock } from '../lib/clock.js';
import type { Logger } from '../telemetry/logger.js';

const WATCH_MS = 1_000;
/** After this time without a confirmation, another process may try. */
const UNCONFIRMED_MS = 5_000;
/** The same before the first confirmation, because LISTEN and a long read of the log come first. */
const FIRST_CONFIRMATION_MS = 15_000;

export interface Role {
  /** Starts to lead. If it throws, the role is released and tried again later. */
  gain(): Promise<void>;
  /**
   * Must stop publishing before its first `await`. A call during `gain` ends that as well. The next call follows only
   * after the next `gain`.
   */
  lose(reason: string): Promise<void>;
}

export type End = 'stopped' | 'lock lost' | 'unconfirmed' | 'failed' | 'handed over';

export interface TenureOptions {
  self: { serverName: string };
  lock: LeaderLock;
  /** How long the database keeps the lock of a silent holder. */
  silenceMs: number;
  role: Role;
  /** When the broker last confirmed a message of this role, by the monotonic clock. */
  confirmedAt: () => number | undefined;
  unconfirmedMs?: number;
  firstConfirmationMs?: number;
  logger: Logger;
  clock: Clock;
}

export class Tenure {
  ended: End | undefined;
  /** Resolves when the lock is free. */
  released: Promise<void> = Promise.resolve();
  /** Resolves when the role has ended, too. */
  done: Promise<unknown> = Promise.resolve();
  readonly #parts: TenureOptions;
  readonly #onEnd: () => void;
  readonly #stopWatching: () => void;
  readonly #watchMs: number;
  #renewedAt: number;
  #renewing = false;
  #lastConfirmed: number | undefined;
  #confirmedOnce = false;
  /**
   * Time in which this process ran without a confirmation. Time in which it stood still does not count against the
   * broker.
   */
  #unconfirmedMs = 0;

  /** Call it with the lock held. */
  constructor(parts: TenureOptions, onEnd: () => void) {
    this.#parts = parts;
    this.#onEnd = onEnd;
    this.#renewedAt = parts.clock.monotonic();
    this.#lastConfirmed = parts.confirmedAt();
    this.#watchMs = Math.min(WATCH_MS, parts.silenceMs / 8);
    this.#stopWatching = setAlignedInterval(this.#watchMs, parts.clock, () => this.#watch());
    this.#begin();
  }

  /** Whether the broker confirmed anything. */
  get worked(): boolean {
    return this.#confirmedOnce;
  }

  /** For `/readyz`: milliseconds without a confirmation, or undefined while confirmations arrive. */
  get unconfirmedMs(): number | undefined {
    return this.#unconfirmedMs > 3 * this.#watchMs ? this.#unconfirmedMs : undefined;
  }

  #begin(): void {
    const { role, logger, self } = this.#parts;
    role.gain().then(
      () => {
        if (!this.ended) {
          logger.info({ server_name: self.serverName }, 'leading: this process is the monitor');
        }
      },
      (error: Error) => this.end('failed', `the monitor cannot start: ${error.message}`),
    );
  }

  end(kind: End, reason: string): void {
    if (this.ended) return;
    this.ended = kind;
    this.#stopWatching();
    const { role, lock, logger } = this.#parts;
    const losing = role.lose(reason).catch((error: Error) => {
      logger.error({ err: error }, 'monitor did not stop cleanly');
    });
    // Publishing has stopped, so nobody needs to wait for the rest of the role.
    this.released = lock.release().catch((error: Error) => {
      logger.warn({ err: error }, 'leader lock not released cleanly');
    });
    this.done = Promise.all([losing, this.released]);
    logger.info({ reason }, 'no longer leading');
    this.#onEnd();
  }

  #watch(): void {
    const { clock, silenceMs } = this.#parts;
    const silentMs = clock.monotonic() - this.#renewedAt;
    if (silentMs > silenceMs) {
      this.end(
        'lock lost',
        `this process stood still for ${Math.round(silentMs)} ms: another process may lead`,
      );
      return;
    }
    if (silentMs >= Math.max(0.4 * silenceMs, silenceMs - 3_000)) void this.#renew();
    this.#countUnconfirmed();
  }

  async #renew(): Promise<void> {
    if (this.#renewing) return;
    this.#renewing = true;
    const askedAt = this.#parts.clock.monotonic();
    try {
      // The lock itself reports its loss to `onLost`.
      if (await this.#parts.lock.check()) this.#renewedAt = askedAt;
    } catch (error) {
      this.end('lock lost', `the leader lock cannot be checked: ${(error as Error).message}`);
    } finally {
      this.#renewing = false;
    }
  }

  #countUnconfirmed(): void {
    const {
      confirmedAt,
      unconfirmedMs = UNCONFIRMED_MS,
      firstConfirmationMs = FIRST_CONFIRMATION_MS,
    } = this.#parts;
    const confirmed = confirmedAt();
    if (confirmed !== this.#lastConfirmed) {
      this.#lastConfirmed = confirmed;
      this.#confirmedOnce = true;
      this.#unconfirmedMs = 0;
      return;
    }
    this.#unconfirmedMs += this.#watchMs;
    const limitMs = this.#confirmedOnce ? unconfirmedMs : firstConfirmationMs;
    if (this.#unconfirmedMs < limitMs) return;
    this.end(
      'unconfirmed',
      `the broker has confirmed nothing for ${Math.round(this.#unconfirmedMs / 1_000)} s`,
    );
  }
}
