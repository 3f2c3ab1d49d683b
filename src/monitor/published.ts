/**
 * What the monitor has already published, to tell a change that a hint announced from one that no hint did.
 *
 * A history is known by two numbers that one statement gives: its newest audit time and how many audit rows it has after a
 * fixed floor. The count matters: a transaction that was open for long commits a row whose time is older than the newest
 * one, and only the count betrays it.
 */
import type { Cursor, HistoryChange, HistoryId, Micros } from '../core/events.js';

export class Published {
  private histories = new Map<HistoryId, { newest: Micros; rows: number }>();

  /** @param floor every change given to this object was read with it */
  constructor(readonly floor: Cursor) {}

  record(changes: readonly HistoryChange[]): void {
    for (const { historyId, newest, rows } of changes) this.histories.set(historyId, { newest, rows });
  }

  /** The histories of `changes` that were not published in this state. */
  unknown(changes: readonly HistoryChange[]): HistoryId[] {
    return changes
      .filter(({ historyId, newest, rows }) => {
        const known = this.histories.get(historyId);
        return known === undefined || known.newest !== newest || known.rows !== rows;
      })
      .map(({ historyId }) => historyId);
  }
}
