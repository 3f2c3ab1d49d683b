import type { Micros } from '../lib/time.js';
import type { Database, HintListener, HintSource, Sql } from './port.js';

const CHANNEL = 'galaxy_history_update';

/**
 * Whether the audit triggers send NOTIFY (schema of 26.1 and later). Otherwise the log must be polled. PostgreSQL only.
 */
export const hasNotifyTriggers = (sql: Sql): Promise<boolean> => triggersCall(sql, 'pg_notify');

/** Whether they can be silenced. */
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

/** For a PostgreSQL whose triggers do not NOTIFY: sends a hint at every interval. */
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
   * Returns only the clock, M. The source announces nothing, so before its cursor passes M the caller must finish a
   * `changesSince` that it started after this call.
   */
  barrier(): Promise<Micros> {
    return this.database.now();
  }
}
