/** The tables of a Galaxy as its database has them before release 26.1: audit triggers without NOTIFY, nothing of ours. */
const TS = 'timestamp without time zone';

export const GALAXY_TABLES = `
CREATE TABLE worker_process (id serial PRIMARY KEY, server_name varchar(255), hostname varchar(255), pid integer,
  update_time ${TS}, app_type varchar, UNIQUE (server_name, hostname));
CREATE TABLE galaxy_user (id serial PRIMARY KEY, create_time ${TS}, update_time ${TS}, email varchar(255) NOT NULL UNIQUE,
  username varchar(255) UNIQUE, password varchar(255) NOT NULL, deleted boolean, purged boolean, active boolean NOT NULL);
CREATE TABLE history (id serial PRIMARY KEY, create_time ${TS}, update_time ${TS}, user_id integer REFERENCES galaxy_user,
  name varchar(255), hid_counter integer, deleted boolean, purged boolean, importing boolean, genome_build varchar(40),
  importable boolean, slug text, published boolean, archived boolean DEFAULT false);
CREATE TABLE galaxy_session (id serial PRIMARY KEY, create_time ${TS}, update_time ${TS},
  user_id integer REFERENCES galaxy_user, current_history_id integer REFERENCES history, session_key varchar(255) UNIQUE,
  is_valid boolean, prev_session_id integer, last_action ${TS});
CREATE TABLE galaxy_session_to_history (id serial PRIMARY KEY, create_time ${TS},
  session_id integer REFERENCES galaxy_session ON DELETE CASCADE, history_id integer REFERENCES history);
CREATE TABLE api_keys (id serial PRIMARY KEY, create_time ${TS}, user_id integer REFERENCES galaxy_user,
  key varchar(32) UNIQUE, deleted boolean NOT NULL DEFAULT false);
CREATE TABLE history_user_share_association (id serial PRIMARY KEY, history_id integer, user_id integer);
CREATE TABLE history_dataset_association (id serial PRIMARY KEY, history_id integer, name varchar(255), hid integer, update_time timestamp);
CREATE TABLE history_dataset_collection_association (id serial PRIMARY KEY, history_id integer, name varchar(255));
CREATE TABLE history_audit (history_id integer NOT NULL REFERENCES history, update_time ${TS} NOT NULL,
  PRIMARY KEY (history_id, update_time));
CREATE TABLE notification (id serial PRIMARY KEY, create_time ${TS}, update_time ${TS}, publication_time ${TS},
  expiration_time ${TS}, source varchar(32), category varchar(64), variant varchar(16), dispatched boolean NOT NULL,
  galaxy_url varchar(255), content bytea);
CREATE TABLE user_notification_association (id serial PRIMARY KEY, user_id integer, notification_id integer,
  seen_time ${TS}, deleted boolean, update_time ${TS});
CREATE TABLE user_preference (id serial PRIMARY KEY, user_id integer, name varchar(255), value text);
CREATE TABLE job (id serial PRIMARY KEY, user_id integer, session_id integer, state varchar(64), tool_id varchar(255));
CREATE TABLE interactivetool_entry_point (id serial PRIMARY KEY, job_id integer, name text, token text NOT NULL,
  tool_port integer, host text, port integer, protocol text, entry_url text, requires_domain boolean,
  requires_path_in_url boolean, requires_path_in_header_named text, info bytea, configured boolean, deleted boolean,
  created_time ${TS}, modified_time ${TS}, label text);
${auditTriggers('by_history_id', 'history_id', ['history_dataset_association', 'history_dataset_collection_association'])}
${auditTriggers('by_id', 'id', ['history'])}
`;

/** @param notify what a database of release 26.1 does besides */
export function auditTriggers(name: string, column: string, tables: readonly string[], notify = ''): string {
  const body = `
CREATE OR REPLACE FUNCTION fn_audit_history_${name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO history_audit SELECT DISTINCT ${column}, clock_timestamp() AT TIME ZONE 'UTC' FROM new_table
   WHERE ${column} IS NOT NULL ON CONFLICT DO NOTHING;
  ${notify} RETURN NULL; END $$;`;
  const triggers = tables.flatMap((table) =>
    [
      ['INSERT', 'ais'],
      ['UPDATE', 'aus'],
    ].map(
      ([operation, suffix]) => `
CREATE TRIGGER trigger_history_audit_${name}_${suffix} AFTER ${operation} ON ${table}
  REFERENCING NEW TABLE AS new_table FOR EACH STATEMENT EXECUTE FUNCTION fn_audit_history_${name}();`,
    ),
  );
  return [body, ...triggers].join('');
}
