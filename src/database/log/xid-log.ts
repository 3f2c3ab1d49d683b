/**
 * The log of a PostgreSQL that Lightcone owns: each audit row has the number of its transaction, and a position is a
 * snapshot. New rows are those that the snapshot does not see: numbers from its xmax on, and those that were open in
 * it. One OR, or `NOT pg_visible_in_snapshot`, would read every row since the oldest open transaction.
 */
import { parseSql } from '../../lib/time.js';
import { utcNow } from '../dialect.js';
import type { ChangeScope, Sql } from '../port.js';
import { identifyPostgres, TIMELINE } from './identity.js';
import { scopeCondition } from './scope.js';
import { formatSnapshot, parseSnapshot, upTo } from './snapshot.js';
import { type ChangeRow, OWNERS, type Piece, type Visibility } from './visibility.js';

interface Row extends ChangeRow {
  timeline: string;
  snapshot: string;
  moment: string;
  fresh: number;
  ended: number;
  last_xid: string | null;
}

export class XidLog implements Visibility {
  private timeline: string | undefined;

  constructor(private readonly db: Sql) {}

  /** Numbers that this server has not issued yet belong to a server from which the rows were copied. */
  async identify(): Promise<string> {
    await this.db.run(
      `UPDATE history_audit SET xid = '0' WHERE xid >= pg_snapshot_xmax(pg_current_snapshot())`,
    );
    const { id, timeline } = await identifyPostgres(this.db);
    this.timeline = timeline;
    return id;
  }

  async end(): Promise<{ where: string; moment: number }> {
    const [row] = await this.db.all<{ snapshot: string; moment: string }>(
      `SELECT pg_current_snapshot()::text AS snapshot, ${utcNow('postgresql')} AS moment`,
    );
    return { where: row!.snapshot, moment: parseSql(row!.moment) };
  }

  async mark(tx: Sql): Promise<bigint | undefined> {
    const [row] = await tx.all<{ xid: string; timeline: string }>(
      `SELECT pg_current_xact_id()::text AS xid, ${TIMELINE} AS timeline`,
    );
    return row!.timeline === this.timeline ? BigInt(row!.xid) : undefined;
  }

  /** Rows and the next position come from one statement, and so from one snapshot. */
  async since(where: string, scope: ChangeScope, limit: number): Promise<Piece | undefined> {
    const before = parseSnapshot(where);
    if (before === undefined) return undefined;
    const { condition, params } = scopeCondition(this.db, scope, 3);
    const rows = await this.db.all<Row>(
      `WITH fresh AS MATERIALIZED (
         SELECT a.history_id, a.update_time, a.xid FROM history_audit a
          WHERE a.xid >= pg_snapshot_xmax($1::pg_snapshot) AND ${condition}
          ORDER BY a.xid FETCH FIRST ($2) ROWS WITH TIES
       ), ended AS MATERIALIZED (
         SELECT a.history_id, a.update_time FROM history_audit a
          WHERE a.xid = ANY (ARRAY(SELECT pg_snapshot_xip($1::pg_snapshot))) AND ${condition}
       ), c AS (
         SELECT history_id, max(update_time) AS newest
           FROM (SELECT history_id, update_time FROM fresh UNION ALL SELECT history_id, update_time FROM ended) r
          GROUP BY history_id
       )
       SELECT pg_current_snapshot()::text AS snapshot, ${utcNow('postgresql')} AS moment, ${TIMELINE} AS timeline,
              (SELECT count(*) FROM fresh) AS fresh, (SELECT count(*) FROM ended) AS ended,
              (SELECT xid::text FROM fresh ORDER BY xid DESC LIMIT 1) AS last_xid,
              o.history_id, o.newest, o.user_id, o.session_id
         FROM (SELECT 1) one
         LEFT JOIN (SELECT c.history_id, c.newest, h.user_id, s.id AS session_id FROM c ${OWNERS}) o ON true
        ORDER BY o.history_id`,
      [where, limit, ...params],
    );
    const { timeline, snapshot, moment, fresh, ended, last_xid } = rows[0]!;
    if (timeline !== this.timeline) return undefined;
    const seen = parseSnapshot(snapshot)!;
    // Its files were put back, or its WAL was discarded, so it reuses numbers.
    if (seen.xmax < before.xmax) return undefined;
    const complete = fresh < limit;
    return {
      where: complete ? snapshot : formatSnapshot(upTo(seen, BigInt(last_xid!))),
      moment: parseSql(moment),
      complete,
      rows: rows.filter((row) => row.history_id !== null),
      auditRows: fresh + ended,
    };
  }
}
