/** The streams of one worker for an administrator, page by page, and refused ones. */
import type { OpenStream, Refusal, StreamPlace, StreamQuestion } from '../../core/notices.js';
import type { Tab } from './tab.js';

/**
 * @param process key of this process
 * @returns the number of matching streams, and the next of them
 */
export function listStreams(
  tabs: readonly Tab[],
  process: string,
  { limit, userId, address, state, after }: StreamQuestion,
): { total: number; streams: OpenStream[] } {
  // Newest last. A stream younger than the oldest of a full page replaces it.
  const page: Tab[] = [];
  let total = 0;
  for (const tab of tabs) {
    if (userId !== undefined && tab.principal.userId !== userId) continue;
    if (state !== undefined && tab.state !== state) continue;
    if (address !== undefined && !tab.from.startsWith(address)) continue;
    total += 1;
    if (after !== undefined && !comesAfter(tab, process, after)) continue;
    if (page.length === limit) {
      if (limit === 0 || tab.id < page[0]!.id) continue;
      page.shift();
    }
    let place = page.length;
    while (place > 0 && page[place - 1]!.id > tab.id) place -= 1;
    page.splice(place, 0, tab);
  }
  return { total, streams: page.reverse().map(describe) };
}

const comesAfter = (tab: Tab, process: string, after: StreamPlace): boolean =>
  compareStreams({ openedAt: tab.openedAt, process, id: tab.id }, after) > 0;

/** The order of the list of all streams: newest first. */
export function compareStreams(a: StreamPlace, b: StreamPlace): number {
  if (a.openedAt !== b.openedAt) return b.openedAt - a.openedAt;
  if (a.process !== b.process) return a.process < b.process ? -1 : 1;
  return b.id - a.id;
}

const describe = ({ id, openedAt, principal, from, state, queue }: Tab): OpenStream => ({
  id,
  openedAt,
  userId: principal.userId ?? null,
  address: from,
  state: state === 'closed' ? 'live' : state,
  waiting: queue?.size ?? 0,
});

/** Counts events in queues, and tabs with a queue. */
export function countWaiting(tabs: readonly Tab[]): { waiting: number; blocked: number } {
  let [waiting, blocked] = [0, 0];
  for (const { state, queue } of tabs) {
    if (state === 'blocked' || state === 'lagging') blocked += 1;
    if (queue !== undefined) waiting += queue.size;
  }
  return { waiting, blocked };
}

/** The newest refusals. A reader takes those since its last call. */
export class Refusals {
  /** Since the start. */
  total = 0;
  private readonly newest: Refusal[] = [];
  private unread = 0;

  constructor(private readonly capacity: number) {}

  note(refusal: Refusal): void {
    this.newest.push(refusal);
    if (this.newest.length > this.capacity) this.newest.shift();
    this.unread += 1;
    this.total += 1;
  }

  /** Those since the last call, as far as they are kept. */
  take(): Refusal[] {
    const taken = this.unread === 0 ? [] : this.newest.slice(-this.unread);
    this.unread = 0;
    return taken;
  }
}
