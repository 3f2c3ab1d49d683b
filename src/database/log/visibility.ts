/** The common interface of the three kinds of log. `where` is the part of a position after the name of its log. */
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
  /** It changes after a restore, a move, or a fail-over that may have lost commits. */
  identify(): Promise<string>;
  /** The current position: everything committed is before it. */
  end(): Promise<{ where: string; moment: Micros }>;
  /** The number of the writing transaction; undefined if the log has changed, or we do not write to it. */
  mark(tx: Sql): Promise<bigint | undefined>;
  /** @returns undefined for a position that this log cannot have issued */
  since(where: string, scope: ChangeScope, limit: number): Promise<Piece | undefined>;
}

/** The owner of a history. An anonymous history has one row for each valid session, or one row without a session. */
export const OWNERS = `
  JOIN history h ON h.id = c.history_id
  LEFT JOIN galaxy_session_to_history sh ON h.user_id IS NULL AND sh.history_id = h.id
  LEFT JOIN galaxy_session s ON s.id = sh.session_id AND s.is_valid AND s.user_id IS NULL`;
