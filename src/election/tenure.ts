/**
 * One tenure of the monitor's role: from the taken lock to its release. The role is kept only while the lock is, and while
 * the broker confirms what is published.
 */

import type { LeaderLock } from '../database/port.js';
import { setAlignedInterval } from '../lib/aligned-interval.js';
import type { Clock } from '../lib/clock.js';
import type { Logger } from '../telemetry/logger.js';

const WATCH_MS = 1_000;
/** Nothing confirmed for so long, and another process may try. */
const UNCONFIRMED_MS = 5_000;
/** The same before the first confirmation: LISTEN and a long read of the log come first. */
const FIRST_CONFIRMATION_MS = 15_000;

export interface Role {
  /** Begins to lead; when it throws, the role is given back and tried again later. */
  gain(): Promise<void>;
  /**
   * Must stop publishing before its first `await`. May come while `gain` is still running, and ends that as well; not
   * called again before the next `gain`.
   */
  lose(reason: string): Promise<void>;
}

export type End = 'stopped' | 'lock lost' | 'unconfirmed' | 'failed' | 'handed over';

export interface TenureOptions {
  self: { serverName: string };
  lock: LeaderLock;
  /** How long the lock is kept for a holder that says nothing. */
  silenceMs: number;
  role: Role;
  /** When the broker last confirmed something of this role, by the monotonic clock. */
  confirmedAt: () => number | undefined;
  unconfirmedMs?: number;
  firstConfirmationMs?: number;
  logger: Logger;
  clock: Clock;
}

export class Tenure {
  ended: End | undefined;
  /** The lock is free again. */
  released: Promise<void> = Promise.resolve();
  /** The role has come to its end as well. */
  done: Promise<unknown> = Promise.resolve();
  readonly #parts: TenureOptions;
  readonly #onEnd: () => void;
  readonly #stopWatching: () => void;
  readonly #watchMs: number;
  #renewedAt: number;
  #renewing = false;
  #lastConfirmed: number | undefined;
  #confirmedOnce = false;
  /** Time in which this process ran and nothing was confirmed: a process that stood still cannot blame the broker. */
  #unconfirmedMs = 0;

  /** The lock is held. */
  constructor(parts: TenureOptions, onEnd: () => void) {
    this.#parts = parts;
    this.#onEnd = onEnd;
    this.#renewedAt = parts.clock.monotonic();
    this.#lastConfirmed = parts.confirmedAt();
    this.#watchMs = Math.min(WATCH_MS, parts.silenceMs / 8);
    this.#stopWatching = setAlignedInterval(this.#watchMs, parts.clock, () => this.#watch());
    this.#begin();
  }

  /** It did what it is for, at least once. */
  get worked(): boolean {
    return this.#confirmedOnce;
  }

  /** For `/readyz`: milliseconds without a confirmation, or undefined while they come. */
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
      (error: Error) => this.end('failed', `the monitor cannot begin: ${error.message}`),
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
    // Nothing is published any more: what else the role has to end, nobody needs to wait for.
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
      this.end('lock lost', `this process stood still for ${Math.round(silentMs)} ms: another may lead`);
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
      // A loss is reported to `onLost` by the lock itself.
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
