/** Was anything lost, and how late was the latest? */
import { historyIds, type SseClient } from '../support/sse-client.js';
import type { Commit } from './writer.js';

/** One tab of a user, as the judge sees it. */
export interface WatchedTab {
  name: string;
  client: SseClient;
  userId: number;
  /** Encoded ids of the user's histories, by row id. */
  histories: ReadonlyMap<number, string>;
}

export interface Verdict {
  /** (commit, tab) pairs that were judged. */
  pairs: number;
  /** Commits without an event, as text. */
  missing: string[];
  /**
   * The longest time, in milliseconds, from the latest of: commit, end of the fault, return of the tab; to the event. A
   * tab that reconnects waits as long as `retry:` told it, which is no fault of the delivery.
   */
  longestMs: number;
  /** What took so long. */
  longest: string;
  /** The same, with the time that a tab waited before it came back. */
  longestWithWaitMs: number;
  medianMs: number;
}

/** What the tabs show, compared with what the database holds. */
export interface ScreensVerdict {
  screens: number;
  /** As text. */
  wrong: string[];
  /** From the end of the last transaction until all were right. */
  rightAfterMs: number;
}

/** @param faultEnds `performance.now()` when what was broken was whole again, in order; a delay counts from the last before the event */
export function judge(
  commits: readonly Commit[],
  tabs: readonly WatchedTab[],
  ...faultEnds: readonly number[]
): Verdict {
  const delays: number[] = [];
  const missing: string[] = [];
  let longestMs = 0;
  let longest = '';
  let longestWithWaitMs = 0;
  for (const tab of tabs) {
    const arrivals = arrivalsOf(tab);
    for (const commit of commits) {
      const encoded = tab.histories.get(commit.historyId);
      if (encoded === undefined) continue;
      const arrival = firstAfter(arrivals.get(encoded) ?? [], commit.sent);
      const faultEnd = faultEnds.findLast((end) => end <= (arrival?.at ?? end)) ?? faultEnds[0]!;
      const nearest = faultEnds.find((end) => end >= commit.done) ?? faultEnds.at(-1)!;
      const what = `history ${commit.historyId} committed ${Math.round(commit.done - nearest)} ms from the end of the fault, ${tab.name}`;
      if (arrival === undefined) {
        missing.push(what);
        continue;
      }
      const delay = Math.max(0, arrival.at - Math.max(commit.done, faultEnd, arrival.connectedAt));
      delays.push(delay);
      longestWithWaitMs = Math.max(longestWithWaitMs, arrival.at - Math.max(commit.done, faultEnd));
      if (delay > longestMs) {
        longestMs = delay;
        longest = what;
      }
    }
  }
  delays.sort((a, b) => a - b);
  return {
    pairs: delays.length + missing.length,
    missing,
    longestMs,
    longest,
    longestWithWaitMs,
    medianMs: delays[delays.length >> 1] ?? 0,
  };
}

interface Arrival {
  at: number;
  /** When the connection on which it came had its `ready`. */
  connectedAt: number;
}

/** By encoded history id, in order. */
function arrivalsOf({ client, histories }: WatchedTab): Map<string, Arrival[]> {
  const arrivals = new Map<string, Arrival[]>([...histories.values()].map((id) => [id, []]));
  let connectedAt = 0;
  for (const frame of client.frames) {
    if (frame.event === 'ready') connectedAt = frame.at;
    for (const id of historyIds(frame)) arrivals.get(id)?.push({ at: frame.at, connectedAt });
  }
  return arrivals;
}

function firstAfter(arrivals: readonly Arrival[], moment: number): Arrival | undefined {
  let low = 0;
  let high = arrivals.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (arrivals[middle]!.at >= moment) high = middle;
    else low = middle + 1;
  }
  return arrivals[low];
}
