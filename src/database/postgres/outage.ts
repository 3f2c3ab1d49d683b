import type { Clock } from '../../lib/clock.js';
import type { Logger } from '../../telemetry/logger.js';

/** One log line when the server becomes unavailable and one when it is back, but not more often than this. */
const LOG_EVERY_MS = 10_000;

/** Tracks whether the server answers, by the results of statements. */
export class Outage {
  problem: string | undefined = 'the database has not been connected yet';
  /** Before the first successful start, the start itself logs problems. */
  started = false;
  #isLogged = false;
  #loggedAt = Number.NEGATIVE_INFINITY;

  constructor(
    private readonly display: string,
    private readonly logger: Logger,
    private readonly clock: Clock,
  ) {}

  /** @param problem undefined: a statement was answered */
  found(problem: string | undefined): void {
    this.problem = problem;
    if (problem === undefined) {
      if (this.#isLogged) this.logger.info({ database: this.display }, 'database is back');
      this.#isLogged = false;
    } else if (this.started && !this.#isLogged && this.clock.monotonic() - this.#loggedAt >= LOG_EVERY_MS) {
      this.#isLogged = true;
      this.#loggedAt = this.clock.monotonic();
      this.logger.warn(
        { database: this.display, reason: problem },
        'database unreachable: retrying until it is back',
      );
    }
  }
}
