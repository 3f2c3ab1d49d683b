/**
 * The log of a PostgreSQL that Galaxy owns: its audit table cannot be changed, so a row is known by its `xmin`. That is the
 * number of the *sub*-transaction (a savepoint), while snapshots hold those of transactions; so a position is not a snapshot but
 * the next number N, those below N that were open (sub-transactions too), and for each the moment before which it did not exist:
 * `N;moment;number@moment,…`, or `first-last@moment` where numbers follow each other.
 *
 * A look first asks what is open, then reads the rows of the time in question, and keeps those whose writer was open at the
 * last look. Who is open at the read is open at the question before it, or younger: numbers do not come to life again.
 */
import { formatSql, MICROS_PER_SECOND, type Micros, parseSql } from '../../lib/time.js';
import { utcNow } from '../dialect.js';
import type { ChangeScope, Sql } from '../port.js';
import { identifyPostgres, TIMELINE } from './identity.js';
import { scopeCondition } from './scope.js';
import { type ChangeRow, OWNERS, type Piece, type Visibility } from './visibility.js';

/** Margin for steps of the clock. A larger one costs no duplicates. */
const SLACK: Micros = MICROS_PER_SECOND;
/**
 * Assumed age of a transaction that was open at the first look, if the server hides its start. Nothing earlier is read.
 */
const UNKNOWN_AGE: Micros = 3600 * MICROS_PER_SECOND;
/** A row has 32 bits of a number. The last snapshot completes it: half of the circle is before that, half after it. */
const around = (number: string, whole: string): string =>
  `(${whole} + ((${number} - ${whole} % 4294967296 + 6442450944) % 4294967296 - 2147483648))`;
/** A snapshot's xmax is the last number that *ended*, plus one. The next number may be far ahead of it. */
const NEXT = `(SELECT ${around("age('3'::xid)::bigint + 3", 'b')} FROM (SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS b) z)`;

const ACTIVE = `FROM pg_stat_activity a WHERE a.backend_type = 'client backend' AND a.datname = current_database()`;
/** The start of the oldest transaction. */
const BEGUN = `(SELECT least(min(a.xact_start), (SELECT min(prepared) FROM pg_prepared_xacts)) ${ACTIVE}) AT TIME ZONE 'UTC'`;
/** The same for transactions without a number: triggers from before June 2025 will write that time. */
const WAITING = `(SELECT min(a.xact_start) ${ACTIVE} AND a.backend_xid IS NULL AND a.pid <> pg_backend_pid()) AT TIME ZONE 'UTC'`;

interface State {
  timeline?: string;
  next: bigint;
  /** No writer without a number at that moment stamps a row with an earlier time. */
  moment: Micros;
  open: ReadonlyMap<bigint, Micros>;
}

export class XminLog implements Visibility {
  /** Triggers from before June 2025 write the start of their transaction. */
  private early: boolean | undefined;
  private timeline: string | undefined;

  constructor(private readonly db: Sql) {}

  async identify(): Promise<string> {
    const { id, timeline } = await identifyPostgres(this.db);
    this.timeline = timeline;
    return id;
  }

  async end(): Promise<{ where: string; moment: Micros }> {
    const state = await this.look(undefined);
    return { where: format(state), moment: state.now };
  }

  /** Galaxy's own API answers writes. */
  async mark(): Promise<undefined> {}

  /** Always complete: its size depends on the number of histories, not of rows. */
  async since(where: string, scope: ChangeScope): Promise<Piece | undefined> {
    const before = parse(where);
    if (!before) return undefined;
    const after = await this.look(before);
    if (after.next < before.next || after.timeline !== this.timeline) return undefined;
    const ended = [...before.open].filter(([xid]) => !after.open.has(xid));
    const floor = Math.min(before.moment, ...ended.map(([, moment]) => moment)) - SLACK;
    const { condition, params } = scopeCondition(this.db, scope, 5);
    const rows = await this.db.all<ChangeRow & { audit_rows: number }>(
      `SELECT c.history_id, c.newest, c.audit_rows, h.user_id, s.id AS session_id
         FROM (SELECT max(r.history_id) AS history_id, max(r.update_time) AS newest, count(*) AS audit_rows
                 FROM (SELECT a.history_id, a.update_time, ${around('a.xmin::text::bigint', '$1::bigint')} AS xid
                         FROM history_audit a WHERE a.update_time > $2 AND ${condition}) r
                WHERE r.xid >= $3::bigint OR r.xid = ANY ($4::bigint[])
                GROUP BY +r.history_id) c ${OWNERS}
        ORDER BY c.history_id`,
      [
        String(after.next),
        formatSql(floor),
        String(before.next),
        this.db.list([...before.open.keys()].map(String)),
        ...params,
      ],
    );
    const auditRows = rows.reduce((sum, row) => sum + row.audit_rows, 0);
    return { where: format(after), moment: after.now, complete: true, rows, auditRows };
  }

  /**
   * First the clock, then the next number, then the open transactions: each must still be true when the next is read.
   */
  private async look(before: State | undefined): Promise<State & { now: Micros }> {
    this.early ??= await this.hasEarlyTriggers();
    const known = before ? [...before.open.keys()].map(String) : [];
    const [row] = await this.db.all<{
      moment: string;
      begun: string | null;
      waiting: string | null;
      next: string;
      timeline: string;
      open: string | null;
    }>(
      `WITH t AS MATERIALIZED (SELECT ${utcNow('postgresql')} AS moment, ${before ? 'NULL::timestamp' : BEGUN} AS begun,
                                     ${this.early ? WAITING : 'NULL::timestamp'} AS waiting, ${NEXT} AS n)
       SELECT moment, begun, waiting, n::text AS next, ${TIMELINE} AS timeline,
              (SELECT string_agg(x::text, ',') FROM (
                 SELECT unnest($1::bigint[]) AS x
                  UNION
                 SELECT generate_series(greatest(3, $2::bigint, pg_snapshot_xmin(pg_current_snapshot())::text::bigint), n - 1)
               ) y WHERE x < n AND pg_xact_status(x::text::xid8) = 'in progress') AS open
         FROM t`,
      [this.db.list(known), before ? String(before.next) : '0'],
    );
    const now = parseSql(row!.moment);
    const oldest = now - UNKNOWN_AGE;
    const born = before?.moment ?? Math.min(oldest, parseSql(row!.begun ?? row!.moment));
    const moment = Math.max(oldest, Math.min(now, parseSql(row!.waiting ?? row!.moment)));
    const open = new Map<bigint, Micros>();
    for (const xid of row!.open?.split(',') ?? []) {
      const number = BigInt(xid);
      open.set(number, before?.open.get(number) ?? born);
    }
    return { timeline: row!.timeline, next: BigInt(row!.next), now, moment, open };
  }

  private async hasEarlyTriggers(): Promise<boolean> {
    const rows = await this.db.all(
      `SELECT 1 FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
        WHERE t.tgrelid = to_regclass('history') AND NOT t.tgisinternal
          AND p.prosrc ~* 'current_timestamp|now\\(\\)' LIMIT 1`,
    );
    return rows.length > 0;
  }
}

function format({ next, moment, open }: State): string {
  const runs: { first: bigint; last: bigint; born: Micros }[] = [];
  // A transaction may have thousands of savepoints with consecutive numbers.
  for (const [xid, born] of [...open].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const run = runs.at(-1);
    if (run && run.last + 1n === xid && run.born === born) run.last = xid;
    else runs.push({ first: xid, last: xid, born });
  }
  const list = runs.map(({ first, last, born }) => `${first === last ? first : `${first}-${last}`}@${born}`);
  return `${next};${moment};${list.join(',')}`;
}

const POSITION = /^(\d{1,19});(\d{1,16});((?:\d{1,19}(?:-\d{1,19})?@\d{1,16},?)*)$/;

function parse(where: string): State | undefined {
  const [, next, moment, list = ''] = POSITION.exec(where) ?? [];
  if (next === undefined || moment === undefined) return undefined;
  const open = new Map<bigint, Micros>();
  for (const entry of list === '' ? [] : list.split(',')) {
    const [run, born] = entry.split('@');
    const [first, last = first] = run!.split('-').map(BigInt);
    for (let xid = first!; xid <= last! && xid < BigInt(next); xid += 1n) open.set(xid, Number(born));
  }
  return { next: BigInt(next), moment: Number(moment), open };
}
