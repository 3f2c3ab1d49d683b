import type { Sql } from '../database/port.js';
import type { AddOptions, OutboxEntry } from './outbox.js';

/** How a mutation adds its events to the outbox. */
export interface OutboxWriter {
  /** Call it inside the transaction of the change. */
  add(tx: Sql, entry: OutboxEntry, options?: AddOptions): Promise<void>;
  /** Call it after the commit. It does not wait and never throws. */
  wake(): void;
}

/** Without live updates there are no receivers: clients poll. */
export const noOutbox: OutboxWriter = { async add() {}, wake() {} };
