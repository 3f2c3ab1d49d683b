/** Transactions of the simulated database, numbered as PostgreSQL numbers them; what they wrote shows when they commit. */
import type { HistoryId } from '../../../src/core/events.js';
import type { Snapshot } from '../../../src/database/log/snapshot.js';

export type Ending = 'commits' | 'in a savepoint' | 'rolls back' | 'prepared' | 'prepared, rolls back';

export interface ContentRow {
  id: number;
  historyId: HistoryId;
  name: string;
  /** The number of the transaction, or of the savepoint, that wrote it. */
  xmin: bigint;
}

export interface Transaction {
  xid: bigint;
  historyId: HistoryId;
  ending: Ending;
  write: ContentRow;
}

const ROWS_PER_HISTORY = 3;

export class Transactions {
  /** What is committed, by row. */
  readonly contents = new Map<number, ContentRow>();
  private readonly open = new Set<Transaction>();
  private readonly locked = new Set<number>();
  private next = 100n;
  /** One more than the highest number that has ended. */
  private xmax = 100n;
  /** The highest number that a crash remembers. */
  private durable = 99n;
  private rows = 1_000;
  private names = 0;

  constructor(historyIds: readonly HistoryId[]) {
    for (const historyId of historyIds) {
      for (let i = 0; i < ROWS_PER_HISTORY; i += 1) {
        const id = historyId * 10 + i;
        this.contents.set(id, { id, historyId, name: 'first', xmin: 3n });
      }
    }
  }

  begin(historyId: HistoryId, ending: Ending): Transaction {
    const xid = this.next++;
    // A savepoint gets its number when it writes: others may have come in between.
    if (ending === 'in a savepoint') this.next += 1n;
    const free = [...this.contents.values()].find(
      (row) => row.historyId === historyId && !this.locked.has(row.id),
    );
    const id = free?.id ?? ++this.rows;
    this.names += 1;
    const write = {
      id,
      historyId,
      name: `${this.names}`,
      xmin: ending === 'in a savepoint' ? this.next - 1n : xid,
    };
    const transaction = { xid, historyId, ending, write };
    this.open.add(transaction);
    this.locked.add(id);
    if (ending.startsWith('prepared')) this.lasts(xid);
    return transaction;
  }

  /** @returns whether it is committed: not where the server ended it before */
  end(transaction: Transaction): boolean {
    if (!this.open.delete(transaction)) return false;
    const { write, ending } = transaction;
    this.locked.delete(write.id);
    this.ended(write.xmin);
    if (ending.endsWith('rolls back')) return false;
    this.contents.set(write.id, write);
    this.lasts(write.xmin);
    return true;
  }

  /** A small one that is committed at once. @returns its number */
  pass(): bigint {
    const xid = this.next++;
    this.lasts(xid);
    this.ended(xid);
    return xid;
  }

  /** What was not prepared is rolled back. In a crash numbers of which nothing was written are given out again. */
  endAll(crash: boolean): void {
    for (const transaction of [...this.open]) {
      if (transaction.ending.startsWith('prepared')) continue;
      this.open.delete(transaction);
      this.locked.delete(transaction.write.id);
      this.ended(transaction.write.xmin);
    }
    if (!crash) return;
    this.next = this.durable + 1n;
    this.xmax = this.next;
  }

  snapshot(): Snapshot {
    const xip = [...this.open].flatMap(({ xid }) => (xid < this.xmax ? [xid] : [])).sort(ascending);
    return { xmin: xip[0] ?? this.xmax, xmax: this.xmax, xip };
  }

  private ended(xid: bigint): void {
    if (xid >= this.xmax) this.xmax = xid + 1n;
  }

  private lasts(xid: bigint): void {
    if (xid > this.durable) this.durable = xid;
  }
}

export const isHidden = (xid: bigint, { xmax, xip }: Snapshot): boolean => xid >= xmax || xip.includes(xid);

const ascending = (a: bigint, b: bigint): number => (a < b ? -1 : a > b ? 1 : 0);
