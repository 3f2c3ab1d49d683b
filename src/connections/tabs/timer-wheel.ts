/**
 * One timer for all tabs. Each second it checks one slot: the tabs that may have been silent for a whole keepalive
 * interval, or have read nothing for the whole write timeout. A tab with a later write moves on to another slot.
 */
import type { Tab } from './tab.js';

/**
 * Maximum number of tabs checked in one turn of the event loop. Tabs that opened together after a restart are due
 * together, each keepalive is a system call, and no event may wait for thousands of them.
 */
const LOOKS_PER_TURN = 100;

export interface TimerWheelActions {
  /** The tab was silent for a whole interval. */
  keepalive(tab: Tab): void;
  /** The tab read nothing for the whole write timeout. */
  stalled(tab: Tab): void;
}

export class TimerWheel {
  /** Seconds since the start of the wheel. */
  second = 0;
  private readonly slots: Tab[][];
  /** Tabs that are due. */
  private due: Tab[] = [];

  constructor(
    private readonly keepaliveSeconds: number,
    private readonly writeTimeoutSeconds: number,
    private readonly actions: TimerWheelActions,
  ) {
    this.slots = Array.from({ length: keepaliveSeconds + 1 }, () => []);
  }

  add(tab: Tab): void {
    tab.lastWrite = this.second;
    this.place(tab, this.second + this.keepaliveSeconds);
  }

  /** Removes a closed tab at once. Its slot would keep its socket in memory until its turn. */
  remove(tab: Tab): void {
    if (tab.wheelSlot < 0) return;
    const slot = this.slots[tab.wheelSlot]!;
    const last = slot.pop()!;
    if (last !== tab) {
      slot[tab.wheelIndex] = last;
      last.wheelIndex = tab.wheelIndex;
    }
    tab.wheelSlot = -1;
  }

  private place(tab: Tab, second: number): void {
    tab.wheelSlot = second % this.slots.length;
    const slot = this.slots[tab.wheelSlot]!;
    tab.wheelIndex = slot.length;
    slot.push(tab);
  }

  /** Call it once a second. */
  advance(): void {
    this.second += 1;
    const index = this.second % this.slots.length;
    const slot = this.slots[index]!;
    if (slot.length === 0) return;
    this.slots[index] = [];
    for (const tab of slot) tab.wheelSlot = -1;
    const underWay = this.due.length > 0;
    this.due = underWay ? slot.concat(this.due) : slot;
    if (!underWay) this.lookAtSome();
  }

  private lookAtSome(): void {
    for (const tab of this.due.splice(-LOOKS_PER_TURN)) this.look(tab);
    if (this.due.length > 0) setImmediate(() => this.lookAtSome());
  }

  private look(tab: Tab): void {
    if (tab.state === 'closed') return;
    // A tab that is not blocked may have a few waiting bytes, which keep the connection alive as well as a comment.
    const waiting =
      tab.state === 'blocked' ||
      tab.state === 'lagging' ||
      (tab.state === 'live' && tab.out.writableLength > 0);
    const silent = this.second - tab.lastWrite;
    if (waiting) {
      if (silent >= this.writeTimeoutSeconds) {
        this.actions.stalled(tab);
        return;
      }
      this.place(tab, this.second + Math.min(this.keepaliveSeconds, this.writeTimeoutSeconds - silent));
      return;
    }
    if (silent >= this.keepaliveSeconds) {
      if (tab.state === 'live') this.actions.keepalive(tab);
      this.place(tab, this.second + this.keepaliveSeconds);
    } else {
      this.place(tab, tab.lastWrite + this.keepaliveSeconds);
    }
  }
}
