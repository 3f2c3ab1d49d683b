import type { Sql } from '../database/port.js';
import type { AddOptions, OutboxEntry } from './outbox.js';

/** How a mutation says what has to be told once it is committed. */
export interface OutboxWriter {
  /** Inside the transaction that makes the change. */
  add(tx: Sql, entry: OutboxEntry, options?: AddOptions): Promise<void>;
  /** After the commit. Waits for nothing and never throws. */
  wake(): void;
}

/** Where live updates are off there is nobody to tell: clients poll. */
export const noOutbox: OutboxWriter = { async add() {}, wake() {} };
