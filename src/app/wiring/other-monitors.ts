/** Beside a Galaxy: detects Galaxy's own monitor, which publishes the same changes. */
import type { Sql } from '../../database/port.js';
import { setAlignedInterval } from '../../lib/aligned-interval.js';
import type { Clock } from '../../lib/clock.js';
import type { Logger } from '../../telemetry/logger.js';

/** Galaxy's web processes yield within a minute. */
const LOOK_MS = 60_000;

/**
 * Descriptions of foreign sessions that listen as a monitor does. Only members of pg_read_all_stats see sessions of
 * other roles.
 */
export async function otherMonitors(database: Sql): Promise<string[]> {
  if (database.dialect !== 'postgresql') return [];
  const rows = await database.all<{ application_name: string; client: string | null; pid: number }>(
    `SELECT application_name, client_addr::text AS client, pid FROM pg_stat_activity
      WHERE datname = current_database() AND query ILIKE 'listen%galaxy_history_update%'
        AND application_name NOT LIKE 'lightcone%'`,
  );
  return rows.map(
    ({ application_name: name, client, pid }) =>
      `${name || 'a program without a name'} (${client ?? 'this machine'}, process ${pid} of PostgreSQL)`,
  );
}

/**
 * Checks each minute while this process leads, and logs a finding once until it is over. @returns a function that stops
 * it
 */
export function watchForOtherMonitors(
  database: Sql,
  leads: () => boolean,
  { logger, clock }: { logger: Logger; clock: Clock },
): () => void {
  let isLogged = false;
  const look = async (): Promise<void> => {
    if (!leads()) return;
    // Components that need the database report its problems.
    const others = await otherMonitors(database).catch(() => []);
    if (others.length > 0 && !isLogged) {
      logger.warn(
        { others },
        'two monitors publish changes, this one and another that listens to galaxy_history_update, so events come twice: stop one of them (docs/beside-a-galaxy.md, Who watches)',
      );
    }
    isLogged = others.length > 0;
  };
  return setAlignedInterval(LOOK_MS, clock, () => void look());
}
