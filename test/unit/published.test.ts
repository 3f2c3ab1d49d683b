import { describe, expect, it } from 'vitest';
import type { HistoryChange } from '../../src/core/events.js';
import { Published } from '../../src/monitor/published.js';

const change = (historyId: number, newest: number, rows: number): HistoryChange => ({
  historyId,
  newest,
  rows,
  userId: 1,
  sessionIds: [],
});

describe('what was published', () => {
  it('is not published again', () => {
    const published = new Published(0);
    published.record([change(1, 100, 2)]);
    expect(published.unknown([change(1, 100, 2)])).toEqual([]);
  });

  it('differs from a history that nobody announced, and from one that changed since', () => {
    const published = new Published(0);
    published.record([change(1, 100, 2), change(2, 100, 1)]);
    expect(published.unknown([change(1, 101, 3), change(2, 100, 1), change(3, 50, 1)])).toEqual([1, 3]);
  });

  it('differs from a change that was committed late, with a time older than the newest', () => {
    const published = new Published(0);
    published.record([change(1, 100, 2)]);
    expect(published.unknown([change(1, 100, 3)])).toEqual([1]);
  });

  it('differs from a newer change even where as many rows were pruned as were added', () => {
    const published = new Published(0);
    published.record([change(1, 100, 2)]);
    expect(published.unknown([change(1, 101, 2)])).toEqual([1]);
  });
});
