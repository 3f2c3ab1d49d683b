/**
 * Beside a Galaxy the triggers are Galaxy's. An administrator may silence them: a condition is put around the NOTIFY in
 * the body of each function, and nothing else changes. Removing the condition restores the original text.
 */
import { LightconeError } from '../../core/errors.js';
import { TRIGGER_LOCK } from '../migrations/0006-quiet-triggers.js';
import type { Database } from '../port.js';

const FUNCTIONS = ['fn_audit_history_by_history_id', 'fn_audit_history_by_id'];
const OPEN = `/* lightcone: quiet */ IF pg_try_advisory_xact_lock_shared(${TRIGGER_LOCK}) THEN `;
const CLOSE = ' END IF; /* lightcone */';
const ID = '[a-z_][a-z0-9_]*';
const CHANNEL = "'galaxy_history_update'";
/** A loop over the ids, or one statement, exactly as in the text. */
const LOOP = String.raw`for ${ID} in select distinct ${ID} from new_table where ${ID} is not null loop perform pg_notify\(${CHANNEL}, ${ID}::text\); end loop;`;
const STATEMENT = String.raw`perform pg_notify\(${CHANNEL}, [^;]*;`;
const INSERT = String.raw`insert into history_audit (?:\(history_id, update_time\) )?select distinct ${ID}, clock_timestamp\(\) at time zone 'utc' from new_table where ${ID} is not null on conflict do nothing;`;
/** Allows white space between any two words. */
const loosely = (pattern: string): string =>
  pattern.replaceAll(' ', String.raw`\s+`).replaceAll(String.raw`\),`, String.raw`\)\s*,`);
const KNOWN = new RegExp(
  loosely(
    String.raw`^(\s*(?:declare ${ID} integer; )?begin ${INSERT} )(${LOOP}|${STATEMENT})( return null; end;?\s*)$`,
  ),
  'i',
);

type Wish = 'quiet' | 'noisy';

/**
 * @returns the functions that were changed, perhaps none
 * @throws LightconeError DATABASE_SCHEMA for an unknown body; it then changes nothing
 */
export async function changeGalaxyTriggers(db: Database, wish: Wish): Promise<string[]> {
  return db.transaction(async (tx) => {
    const rows = await tx.all<{ name: string; signature: string; body: string }>(
      `SELECT p.proname AS name, p.oid::regprocedure::text AS signature, p.prosrc AS body
         FROM pg_proc p WHERE p.oid = ANY (SELECT tgfoid FROM pg_trigger WHERE NOT tgisinternal
          AND tgrelid IN (to_regclass('history'), to_regclass('history_dataset_association'),
                          to_regclass('history_dataset_collection_association')))
          AND p.proname = ANY ($1::text[]) FOR UPDATE`,
      [tx.list(FUNCTIONS)],
    );
    const missing = FUNCTIONS.filter((name) => !rows.some((row) => row.name === name));
    if (missing.length > 0) throw refused(`missing trigger function ${missing.join(' and ')}`);
    const changes = rows.flatMap(({ name, signature, body }) => {
      const changed = wish === 'quiet' ? quietBody(name, body) : noisyBody(body);
      return changed === body ? [] : [{ name, signature, changed }];
    });
    for (const { signature, changed } of changes) {
      await tx.run(
        `CREATE OR REPLACE FUNCTION ${signature} RETURNS trigger LANGUAGE plpgsql AS $lightcone$${changed}$lightcone$`,
      );
    }
    return changes.map(({ name }) => name);
  });
}

function quietBody(name: string, body: string): string {
  if (body.includes(OPEN)) return body;
  const [, before, notify, after] = KNOWN.exec(body) ?? [];
  if (before === undefined) {
    throw refused(`this Lightcone does not know the body of ${name}, which is not that of Galaxy 26.1`);
  }
  return `${before}${OPEN}${notify}${CLOSE}${after}`;
}

const noisyBody = (body: string): string => body.replace(OPEN, '').replace(CLOSE, '');

const refused = (what: string) => new LightconeError('DATABASE_SCHEMA', `no trigger was changed: ${what}`);
