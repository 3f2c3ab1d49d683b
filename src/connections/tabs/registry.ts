/** The open tabs of this worker, by user and by session. All operations are O(1), and iteration copies nothing. */
import type { SessionId, UserId } from '../../core/events.js';
import type { Tab } from './tab.js';

export class TabRegistry {
  /** Unordered. The last tab takes the place of a tab that closes. */
  readonly all: Tab[] = [];
  private readonly users = new Map<UserId, { first: Tab; count: number }>();
  private readonly sessions = new Map<SessionId, Tab>();
  private readonly addresses = new Map<string, number>();
  /** The number of tabs that belong to a user. */
  userTabCount = 0;

  add(tab: Tab): void {
    tab.index = this.all.length;
    this.all.push(tab);
    const { userId, sessionId } = tab.principal;
    if (tab.address !== undefined) this.addresses.set(tab.address, this.countOfAddress(tab.address) + 1);
    if (userId !== undefined) {
      this.userTabCount += 1;
      const entry = this.users.get(userId);
      if (entry === undefined) {
        this.users.set(userId, { first: tab, count: 1 });
      } else {
        tab.nextOfUser = entry.first;
        entry.first.previousOfUser = tab;
        entry.first = tab;
        entry.count += 1;
      }
    }
    if (sessionId !== undefined) {
      const first = this.sessions.get(sessionId);
      tab.nextOfSession = first;
      if (first !== undefined) first.previousOfSession = tab;
      this.sessions.set(sessionId, tab);
    }
  }

  /** @returns false if the tab is not here (closed twice) */
  remove(tab: Tab): boolean {
    if (tab.index < 0) return false;
    const last = this.all.pop()!;
    if (last !== tab) {
      this.all[tab.index] = last;
      last.index = tab.index;
    }
    tab.index = -1;
    const { userId, sessionId } = tab.principal;
    if (userId !== undefined) this.removeOfUser(tab, userId);
    if (tab.address !== undefined) this.removeOfAddress(tab.address);
    if (sessionId !== undefined) {
      if (tab.nextOfSession) tab.nextOfSession.previousOfSession = tab.previousOfSession;
      if (tab.previousOfSession) tab.previousOfSession.nextOfSession = tab.nextOfSession;
      else if (tab.nextOfSession) this.sessions.set(sessionId, tab.nextOfSession);
      else this.sessions.delete(sessionId);
      tab.nextOfSession = tab.previousOfSession = undefined;
    }
    return true;
  }

  private removeOfUser(tab: Tab, userId: UserId): void {
    this.userTabCount -= 1;
    const entry = this.users.get(userId)!;
    entry.count -= 1;
    if (entry.count === 0) this.users.delete(userId);
    if (tab.nextOfUser) tab.nextOfUser.previousOfUser = tab.previousOfUser;
    if (tab.previousOfUser) tab.previousOfUser.nextOfUser = tab.nextOfUser;
    else if (tab.nextOfUser) entry.first = tab.nextOfUser;
    tab.nextOfUser = tab.previousOfUser = undefined;
  }

  private removeOfAddress(address: string): void {
    const count = this.countOfAddress(address) - 1;
    if (count > 0) this.addresses.set(address, count);
    else this.addresses.delete(address);
  }

  /** First tab of the user; the others follow by `nextOfUser`. */
  firstOfUser(userId: UserId): Tab | undefined {
    return this.users.get(userId)?.first;
  }

  /** First tab of the session; the others follow by `nextOfSession`. */
  firstOfSession(sessionId: SessionId): Tab | undefined {
    return this.sessions.get(sessionId);
  }

  get userCount(): number {
    return this.users.size;
  }

  get sessionCount(): number {
    return this.sessions.size;
  }

  /** The number of tabs without a user from this address, if they are counted. */
  countOfAddress(address: string): number {
    return this.addresses.get(address) ?? 0;
  }

  countOfUser(userId: UserId): number {
    return this.users.get(userId)?.count ?? 0;
  }
}
