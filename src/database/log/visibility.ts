/** What the three kinds of log have in common. `where` is the part of a position behind the name of its log. */
import type { Micros } from '../../core/events.js';
import type { ChangeScope, Sql, SqlRow } from '../port.js';

/** One row per (history, session of an anonymous history). */
export interface OwnedRow extends SqlRow {
  history_id: number;
  user_id: number | null;
  session_id: number | null;
}

export interface ChangeRow extends OwnedRow {
  newest: string;
}

export interface Piece {
  where: string;
  moment: Micros;
  complete: boolean;
  rows: ChangeRow[];
  auditRows?: number;
}

export interface Visibility {
  /** Another one after a restore, a move, or a fail-over that may have lost commits. */
  identify(): Promise<string>;
  /** Now: all that is committed is behind it. */
  end(): Promise<{ where: string; moment: Micros }>;
  /** The number of the transaction that writes; undefined where this log is another one by now, or is not written to by us. */
  mark(tx: Sql): Promise<bigint | undefined>;
  /** @returns undefined for a position that this log cannot have given */
  since(where: string, scope: ChangeScope, limit: number): Promise<Piece | undefined>;
}

/** Owner, or for an anonymous history its valid sessions, one row each; an anonymous history without one keeps one row. */
export const OWNERS = `
  JOIN history h ON h.id = c.history_id
  LEFT JOIN galaxy_session_to_history sh ON h.user_id IS NULL AND sh.history_id = h.id
  LEFT JOIN galaxy_session s ON s.id = sh.session_id AND s.is_valid AND s.user_id IS NULL`;
