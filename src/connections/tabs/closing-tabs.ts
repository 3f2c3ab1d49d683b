/**
 * Streams closed from this side whose last bytes are still on their way. A client that does not take them is cut.
 * Otherwise it would keep its descriptor forever, in no list and under no limit.
 */
import type { Writable } from 'node:stream';
import { endBody } from '../writing/body.js';
import type { Tab } from './tab.js';

const GRACE_SECONDS = 5;

export class ClosingTabs {
  /** The second of the manager's wheel at which each was closed, oldest first. */
  private readonly endedAt = new Map<Writable, number>();

  get size(): number {
    return this.endedAt.size;
  }

  end(tab: Tab, second: number): void {
    this.endedAt.set(tab.out, second);
    endBody(tab);
  }

  /** The socket of the tab has closed. */
  closed(tab: Tab): void {
    this.endedAt.delete(tab.out);
  }

  /** Cuts those whose time is over. */
  expire(second: number): void {
    for (const [out, endedAt] of this.endedAt) {
      if (second - endedAt < GRACE_SECONDS) return;
      this.cut(out);
    }
  }

  cutAll(): void {
    for (const out of this.endedAt.keys()) this.cut(out);
  }

  private cut(out: Writable): void {
    this.endedAt.delete(out);
    out.destroy();
  }
}
