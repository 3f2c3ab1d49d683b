import type { Clock } from '../../lib/clock.js';
import type { Logger } from '../../telemetry/logger.js';
import type { Tab } from './tab.js';

/**
 * What is looked up in different tables: one that is locked keeps no other kind unchecked. `run_as` is an administrator's key
 * that acts for a user, `viewed` are the histories that viewers look at, `application` is whom the application that embeds
 * Lightcone has let in.
 */
export type PermissionKind = 'session' | 'api_key' | 'bootstrap_key' | 'run_as' | 'viewed' | 'application';

/** Undefined for who has shown no credential, which nobody can revoke. */
export function kindOf({ principal: { credential, userId } }: Tab): PermissionKind | undefined {
  if (credential.kind === 'none') return undefined;
  return credential.kind === 'api_key' && credential.userId !== userId ? 'run_as' : credential.kind;
}

/** So many items are one question, not one each second: an idle worker sends no more than one statement a second in all. */
const SMALLEST_STEP = 1000;
/** What was not looked at for longer may have ended: no stream outlives its permission by more than that. */
const LONGEST_UNCHECKED_MS = 60_000;

interface RoundOptions<Item> {
  kind: PermissionKind;
  /** Of all kinds; it changes while the round goes on. */
  items: readonly Item[];
  isMine: (item: Item) => boolean;
  look: (items: readonly Item[]) => Promise<void>;
  logger: Logger;
  clock: Pick<Clock, 'monotonic'>;
}

/** Goes over everything of one kind, again and again, some of it each second. */
export class PermissionRound<Item> {
  private running = false;
  /** Items at places below this one are still to be looked at. */
  private next = 0;
  private stepSize = 0;
  /** Looked at in vain; the longest ago first. */
  private unchecked: Item[] = [];
  private failing = false;
  /** When the round under way began, and the last one that was completed (`monotonic`). */
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

  /** One that is still under way goes on instead, unless one step is to do all. */
  begin(steps: number): void {
    if (this.next > 0 && (steps > 1 || this.running)) return;
    this.next = this.options.items.length;
    this.unchecked = [];
    this.stepSize = Math.max(SMALLEST_STEP, Math.ceil(this.next / steps));
    this.begunAt = this.options.clock.monotonic();
  }

  /** Never rejects. What could not be looked at is looked at again in the next step. */
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

  /** From the end down: the place of a tab that closes is taken by the last one, which has been looked at. */
  private takeStep(): Item[] {
    const { items } = this.options;
    const end = Math.min(this.next, items.length);
    this.next = Math.max(0, end - this.stepSize);
    return items.slice(this.next, end);
  }
}
