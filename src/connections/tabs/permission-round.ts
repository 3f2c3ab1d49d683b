import type { Clock } from '../../lib/clock.js';
import type { Logger } from '../../telemetry/logger.js';
import type { Tab } from './tab.js';

/**
 * Kinds of permissions that are in different tables, so that a locked table leaves no other kind unchecked. `run_as` is
 * an administrator's key that acts for a user, `viewed` are the histories of viewers, `application` are the callers of
 * the embedding application.
 */
export type PermissionKind = 'session' | 'api_key' | 'bootstrap_key' | 'run_as' | 'viewed' | 'application';

/** Undefined for a stream without a credential, which nobody can revoke. */
export function kindOf({ principal: { credential, userId } }: Tab): PermissionKind | undefined {
  if (credential.kind === 'none') return undefined;
  return credential.kind === 'api_key' && credential.userId !== userId ? 'run_as' : credential.kind;
}

/** Minimum number of items in one question, so that an idle worker sends at most one statement a second in all. */
const SMALLEST_STEP = 1000;
/** A permission that was not checked for longer may have ended. No stream outlives its permission by more than that. */
const LONGEST_UNCHECKED_MS = 60_000;

interface RoundOptions<Item> {
  kind: PermissionKind;
  /** All items of this kind. The list changes during the round. */
  items: readonly Item[];
  isMine: (item: Item) => boolean;
  look: (items: readonly Item[]) => Promise<void>;
  logger: Logger;
  clock: Pick<Clock, 'monotonic'>;
}

/** Checks all items of one kind again and again, a part of them each second. */
export class PermissionRound<Item> {
  private running = false;
  /** Items below this index are not checked yet. */
  private next = 0;
  private stepSize = 0;
  /** Items whose check failed, oldest first. */
  private unchecked: Item[] = [];
  private failing = false;
  /** When the current round started, and when the last completed one had started (`monotonic`). */
  private begunAt: number;
  private completeSince: number;

  constructor(private readonly options: RoundOptions<Item>) {
    this.begunAt = this.completeSince = options.clock.monotonic();
  }

  get kind(): PermissionKind {
    return this.options.kind;
  }

  get isOverdue(): boolean {
    return this.options.clock.monotonic() - this.completeSince > LONGEST_UNCHECKED_MS;
  }

  /** Starts a round. A running one continues instead, unless one step must check everything. */
  begin(steps: number): void {
    if (this.next > 0 && (steps > 1 || this.running)) return;
    this.next = this.options.items.length;
    this.unchecked = [];
    this.stepSize = Math.max(SMALLEST_STEP, Math.ceil(this.next / steps));
    this.begunAt = this.options.clock.monotonic();
  }

  /** Never rejects. The next step repeats failed checks. */
  async step(): Promise<void> {
    if (this.running) return;
    this.running = true;
    const { kind, isMine, look, logger } = this.options;
    const items = [...this.unchecked.splice(0, this.stepSize), ...this.takeStep()].filter(isMine);
    try {
      if (items.length > 0) await look(items);
      this.failing = false;
    } catch (err) {
      this.unchecked.push(...items);
      if (!this.failing) {
        logger.warn({ kind, err }, 'permission check failed: retrying every second');
      }
      this.failing = true;
    }
    if (this.next === 0 && this.unchecked.length === 0) this.completeSince = this.begunAt;
    this.running = false;
  }

  /** Downwards from the end: the last tab, which has been checked, takes the place of a tab that closes. */
  private takeStep(): Item[] {
    const { items } = this.options;
    const end = Math.min(this.next, items.length);
    this.next = Math.max(0, end - this.stepSize);
    return items.slice(this.next, end);
  }
}
