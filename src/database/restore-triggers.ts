/**
 * Restores the triggers that record changes, after something has dropped or disabled them: a bulk load, a restore of
 * the data alone.
 */
import { triggersWithoutSearchPath } from './migrations/0007-triggers-without-search-path.js';
import { MIGRATIONS } from './migrations/index.js';
import type { Database, Dialect, Sql } from './port.js';

/**
 * Creates or enables missing triggers in a database that Lightcone owns.
 * @returns `name on table` of each
 */
export const restoreTriggers = (db: Database): Promise<string[]> =>
  db.transaction(async (tx) => {
    const there = await triggersOf(tx);
    const wanted = [...statementsByTrigger(tx.dialect)].filter(([trigger]) => !there.get(trigger));
    if (wanted.length > 0 && tx.dialect === 'postgresql') {
      for (const statement of triggersWithoutSearchPath(tx.dialect)) await tx.run(statement);
    }
    for (const [trigger, statement] of wanted) {
      const [name, table] = trigger.split(' on ');
      await tx.run(there.has(trigger) ? `ALTER TABLE ${table} ENABLE TRIGGER ${name}` : statement);
    }
    return wanted.map(([trigger]) => trigger);
  });

/** The newest statement of each, by `name on table`, because two tables use one name. */
const statementsByTrigger = (dialect: Dialect): Map<string, string> =>
  new Map(
    MIGRATIONS.flatMap((migration) => migration.statements(dialect)).flatMap((statement) => {
      const [, name, table] = /^\s*CREATE TRIGGER (\w+) AFTER \w+ ON (\w+)/.exec(statement) ?? [];
      return name === undefined ? [] : [[`${name} on ${table}`, statement] as const];
    }),
  );

/** Whether each trigger fires. */
async function triggersOf(tx: Sql): Promise<Map<string, boolean>> {
  const rows = await tx.all<{ trigger: string; fires: unknown }>(
    tx.dialect === 'sqlite'
      ? "SELECT name || ' on ' || tbl_name AS trigger, 1 AS fires FROM sqlite_master WHERE type = 'trigger'"
      : `SELECT t.tgname || ' on ' || t.tgrelid::regclass AS trigger, t.tgenabled IN ('O', 'A') AS fires
           FROM pg_trigger t WHERE NOT t.tgisinternal AND pg_table_is_visible(t.tgrelid)`,
  );
  return new Map(rows.map(({ trigger, fires }) => [trigger, Boolean(fires)]));
}
