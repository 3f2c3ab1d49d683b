/**
 * The viewers of histories that are not their own. A subscription belongs to a user, to a session, or (from the
 * stream's URL) to one tab. It ends when the last tab of its holder closes here. Browsers send theirs again after each
 * open.
 */
import type { HistoryId, SessionId, UserId } from '../../core/events.js';
import { LIMITS } from '../../core/limits.js';
import type { Tab } from '../tabs/tab.js';

/** Per holder, far more than anybody has in view. Beyond it the oldest subscription of the holder ends. */
export const MOST_VIEWED = 1000;
/** Each holder may have this many, whatever the total. */
const ALWAYS_VIEWED = 10;

interface Viewers {
  users: Set<UserId>;
  sessions: Set<SessionId>;
  tabs: Set<Tab>;
}

export type ViewerHolder = { userId: UserId } | { sessionId: SessionId } | { tab: Tab };

export class ViewerRegistry {
  private readonly histories = new Map<HistoryId, Viewers>();
  /** The histories of each holder, so that removing a holder needs no search. */
  private readonly held = new Map<string | Tab, Set<HistoryId>>();
  private total = 0;

  /**
   * @param most of all holders. Beyond it each has its share, so that a flood of one holder costs the others nothing
   */
  constructor(private readonly most: number = LIMITS.watchedHistories.value) {}

  get size(): number {
    return this.histories.size;
  }

  get(historyId: HistoryId): Viewers | undefined {
    return this.histories.get(historyId);
  }

  /** @returns false if it existed already */
  subscribe(holder: ViewerHolder, historyId: HistoryId): boolean {
    const key = keyOf(holder);
    let held = this.held.get(key);
    if (held?.has(historyId)) return false;
    if (!held) {
      held = new Set();
      this.held.set(key, held);
    }
    if (held.size >= this.share) {
      const [oldest] = held;
      this.unsubscribe(holder, oldest!);
      this.held.set(key, held);
    }
    held.add(historyId);
    this.total += 1;
    let viewers = this.histories.get(historyId);
    if (!viewers) {
      viewers = { users: new Set(), sessions: new Set(), tabs: new Set() };
      this.histories.set(historyId, viewers);
    }
    if ('userId' in holder) viewers.users.add(holder.userId);
    else if ('sessionId' in holder) viewers.sessions.add(holder.sessionId);
    else viewers.tabs.add(holder.tab);
    return true;
  }

  unsubscribe(holder: ViewerHolder, historyId: HistoryId): void {
    const key = keyOf(holder);
    const held = this.held.get(key);
    if (!held?.delete(historyId)) return;
    this.total -= 1;
    if (held.size === 0) this.held.delete(key);
    const viewers = this.histories.get(historyId)!;
    if ('userId' in holder) viewers.users.delete(holder.userId);
    else if ('sessionId' in holder) viewers.sessions.delete(holder.sessionId);
    else viewers.tabs.delete(holder.tab);
    if (viewers.users.size + viewers.sessions.size + viewers.tabs.size === 0)
      this.histories.delete(historyId);
  }

  private get share(): number {
    if (this.total < this.most) return MOST_VIEWED;
    return Math.min(MOST_VIEWED, Math.max(ALWAYS_VIEWED, Math.floor(this.most / this.held.size)));
  }

  forget(holder: ViewerHolder): void {
    for (const historyId of [...(this.held.get(keyOf(holder)) ?? [])]) this.unsubscribe(holder, historyId);
  }

  /** The histories that the holder views. */
  of(holder: ViewerHolder): ReadonlySet<HistoryId> {
    return this.held.get(keyOf(holder)) ?? NONE;
  }
}

const NONE: ReadonlySet<HistoryId> = new Set();

const keyOf = (holder: ViewerHolder): string | Tab =>
  'tab' in holder ? holder.tab : 'userId' in holder ? `u${holder.userId}` : `s${holder.sessionId}`;
