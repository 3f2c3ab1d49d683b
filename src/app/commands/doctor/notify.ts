/** Problems with NOTIFY on this server: bugs of its version, and writers that wait for each other because of it. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Sql } from '../../../database/port.js';
import { type Finding, note, ok } from './finding.js';

/** Release 2026-02-12, "Prevent truncation of CLOG that is still needed by unread NOTIFY messages". 13 never got it. */
const FIXED_IN: Record<number, number> = { 14: 21, 15: 16, 16: 12, 17: 8, 18: 2 };
const OLDEST_FIXED = 14;

const SAMPLES = 10;
const SAMPLE_MS = 50;

/** @param versionNumber `server_version_num`, such as 150016 for 15.16 @returns undefined if NOTIFY has no known bug */
export function notifyFault(versionNumber: number): string | undefined {
  const major = Math.floor(versionNumber / 10_000);
  const minor = versionNumber % 10_000;
  const fixed = FIXED_IN[major];
  if (fixed === undefined ? major >= OLDEST_FIXED : minor >= fixed) return undefined;
  const update = fixed === undefined ? 'update to a newer major version' : `update to ${major}.${fixed}`;
  return (
    `PostgreSQL ${major}.${minor} can lose data of unread notifications when a VACUUM runs; LISTEN then fails with ` +
    `"could not access status of transaction" until "SELECT pg_notification_queue_usage()" is run; ${update}`
  );
}

export async function versionOf(db: Sql): Promise<number> {
  const [row] = await db.all<{ number: number }>(
    "SELECT current_setting('server_version_num')::int AS number",
  );
  return row!.number;
}

/**
 * A transaction with NOTIFY commits alone on the whole server: others wait for a lock on "database 0", which
 * pg_stat_activity shows as `wait_event_type=Lock, wait_event=object` on COMMIT.
 */
export async function commitFinding(db: Sql): Promise<Finding> {
  const counts: number[] = [];
  for (let i = 0; i < SAMPLES; i += 1) {
    if (i > 0) await sleep(SAMPLE_MS);
    const [row] = await db.all<{ waiting: number }>(
      `SELECT count(*)::int AS waiting FROM pg_locks
        WHERE locktype = 'object' AND database = 0 AND classid = 'pg_database'::regclass AND objid = 0 AND NOT granted`,
    );
    counts.push(row!.waiting);
  }
  const seen = counts.filter((waiting) => waiting > 0).length;
  if (seen === 0) return ok('no writer waits for the NOTIFY of another');
  return note(
    `up to ${Math.max(...counts)} writers at once wait to commit because others send NOTIFY, in ${seen} of ${SAMPLES} samples: ` +
      'run "lightcone migrate" (beside a Galaxy with --attach --quiet-triggers), whose triggers send none under load, or find the other programs that NOTIFY here or in another database of this server',
  );
}
