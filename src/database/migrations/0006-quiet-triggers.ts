import type { Dialect } from '../port.js';

/**
 * "LCNE", 2. A trigger that gets it in shared mode sends NOTIFY; the leader holds it while it polls. The triggers
 * contain the number, so it never changes.
 */
export const TRIGGER_LOCK = '1279479365, 2';

/**
 * One row per history and statement. The INSERT gives the transaction its number before the trigger tries the lock: see
 * `postgres/quiet-triggers.ts`. There is no foreign key, because it cost a quarter of the writers' commits for no
 * benefit.
 */
export const quietTriggers = (dialect: Dialect): string[] =>
  dialect === 'sqlite'
    ? []
    : [
        'ALTER TABLE history_audit DROP CONSTRAINT IF EXISTS history_audit_history_id_fkey',
        ...(['history_id', 'id'] as const).map(quietFunction),
      ];

export const quietFunction = (column: 'history_id' | 'id'): string => `
  CREATE OR REPLACE FUNCTION fn_audit_history_by_${column}() RETURNS trigger LANGUAGE plpgsql AS $body$
  BEGIN
    INSERT INTO history_audit (history_id, update_time)
    SELECT changed.id, clock_timestamp() AT TIME ZONE 'UTC'
      FROM (SELECT DISTINCT ${column} AS id FROM new_table WHERE ${column} IS NOT NULL) changed
    ON CONFLICT DO NOTHING;
    IF FOUND THEN
      IF pg_try_advisory_xact_lock_shared(${TRIGGER_LOCK}) THEN
        PERFORM pg_notify('galaxy_history_update', changed.id::text)
           FROM (SELECT DISTINCT ${column} AS id FROM new_table WHERE ${column} IS NOT NULL) changed;
      END IF;
    END IF;
    RETURN NULL;
  END;
  $body$`;
