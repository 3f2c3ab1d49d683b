import type { Dialect } from '../port.js';

const AUDITED = [
  { table: 'history_dataset_association', column: 'history_id' },
  { table: 'history_dataset_collection_association', column: 'history_id' },
  { table: 'history', column: 'id' },
] as const;

/** Contract, sections 1.3 and 1.4: names, times and notifications. */
export function auditTriggers(dialect: Dialect): string[] {
  return dialect === 'sqlite' ? sqliteTriggers() : postgresTriggers();
}

/**
 * Once per statement, for all its rows. PostgreSQL sends NOTIFY at commit, and equal ones of a transaction only once.
 */
function postgresTriggers(): string[] {
  const functions = (['history_id', 'id'] as const).map(
    (column) => `
      CREATE FUNCTION fn_audit_history_by_${column}() RETURNS trigger LANGUAGE plpgsql AS $body$
      BEGIN
        INSERT INTO history_audit (history_id, update_time)
        SELECT ${column}, clock_timestamp() AT TIME ZONE 'UTC'
          FROM new_table WHERE ${column} IS NOT NULL
        ON CONFLICT DO NOTHING;
        PERFORM pg_notify('galaxy_history_update', changed.id::text)
           FROM (SELECT DISTINCT ${column} AS id FROM new_table WHERE ${column} IS NOT NULL) changed;
        RETURN NULL;
      END;
      $body$`,
  );
  const triggers = AUDITED.flatMap(({ table, column }) =>
    (['INSERT', 'UPDATE'] as const).map((operation) => {
      const suffix = operation === 'INSERT' ? 'ais' : 'aus';
      return `
        CREATE TRIGGER trigger_history_audit_by_${column}_${suffix} AFTER ${operation} ON ${table}
        REFERENCING NEW TABLE AS new_table
        FOR EACH STATEMENT EXECUTE FUNCTION fn_audit_history_by_${column}()`;
    }),
  );
  return [...functions, ...triggers];
}

function sqliteTriggers(): string[] {
  return AUDITED.flatMap(({ table, column }) =>
    (['INSERT', 'UPDATE'] as const).map((operation) => {
      const suffix = operation === 'INSERT' ? 'air' : 'aur';
      return `
        CREATE TRIGGER trigger_${table}_${suffix} AFTER ${operation} ON ${table} FOR EACH ROW
        WHEN NEW.${column} IS NOT NULL
        BEGIN
          INSERT INTO history_audit (history_id, update_time)
          VALUES (NEW.${column}, strftime('%Y-%m-%d %H:%M:%f', 'now'));
        END`;
    }),
  );
}
