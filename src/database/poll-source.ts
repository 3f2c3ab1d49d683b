import type { Micros } from '../lib/time.js';
import type { Database, HintListener, HintSource, Sql } from './port.js';

const CHANNEL = 'galaxy_history_update';

/** True when the audit triggers announce changes (schema of 26.1 and later). Without, one must poll. PostgreSQL only. */
export const hasNotifyTriggers = (sql: Sql): Promise<boolean> => triggersCall(sql, 'pg_notify');

/** True when they can be kept from it. */
export const hasQuietTriggers = (sql: Sql): Promise<boolean> =>
  triggersCall(sql, 'pg_try_advisory_xact_lock_shared');

async function triggersCall(sql: Sql, name: string): Promise<boolean> {
  const rows = await sql.all(
    `SELECT 1 FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
      WHERE t.tgrelid = to_regclass('history') AND NOT t.tgisinternal AND t.tgenabled <> 'D'
        AND p.prosrc LIKE '%${name}%' AND p.prosrc LIKE '%${CHANNEL}%' LIMIT 1`,
  );
  return rows.length > 0;
}

/** For a PostgreSQL whose triggers do not NOTIFY: says "look now" at every interval and knows no more than that. */
export class PollSource implements HintSource {
  readonly name = 'poll';
  #timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly database: Pick<Database, 'now'>,
    private readonly listener: HintListener,
    private readonly intervalMs: number,
  ) {}

  async start(): Promise<void> {
    this.#timer ??= setInterval(() => this.listener.onGap('poll'), this.intervalMs);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /**
   * Only the clock, M. Nothing has been handed over: a caller that wants its cursor to pass M must itself finish a
   * `changesSince` that it began after this resolved.
   */
  barrier(): Promise<Micros> {
    return this.database.now();
  }
}
