import type { Dialect } from '../port.js';

/**
 * The tables of Galaxy's schema that a standalone Lightcone reads and writes. Names and columns equal Galaxy's, so that
 * programs for Galaxy's tables work with these. References to datasets, collections and the like are plain numbers.
 */
export function galaxyTables(dialect: Dialect): string[] {
  const sqlite = dialect === 'sqlite';
  const id = sqlite ? 'id INTEGER PRIMARY KEY' : 'id serial PRIMARY KEY';
  const json = sqlite ? 'blob' : 'bytea';
  // SQLAlchemy declares these as DATETIME; the values are text in both cases.
  const ts = sqlite ? 'datetime' : 'timestamp without time zone';

  return [
    `CREATE TABLE worker_process (
      ${id}, server_name varchar(255), hostname varchar(255), pid integer, update_time ${ts}, app_type varchar,
      UNIQUE (server_name, hostname))`,
    'CREATE INDEX ix_worker_process_server_name ON worker_process (server_name)',

    `CREATE TABLE galaxy_user (
      ${id}, create_time ${ts}, update_time ${ts}, email varchar(255) NOT NULL UNIQUE, username varchar(255) UNIQUE,
      password varchar(255) NOT NULL, last_password_change ${ts}, external boolean, form_values_id integer,
      preferred_object_store_id varchar(255), deleted boolean, purged boolean, disk_usage numeric(15,0),
      active boolean NOT NULL, activation_token varchar(64))`,

    `CREATE TABLE history (
      ${id}, create_time ${ts}, update_time ${ts}, user_id integer REFERENCES galaxy_user (id), name varchar(255),
      hid_counter integer, deleted boolean, purged boolean, importing boolean, genome_build varchar(40),
      importable boolean, slug text, published boolean, preferred_object_store_id varchar(255),
      archived boolean DEFAULT false, archive_export_id integer)`,
    'CREATE INDEX ix_history_update_time ON history (update_time)',
    'CREATE INDEX ix_history_user_id ON history (user_id)',

    `CREATE TABLE galaxy_session (
      ${id}, create_time ${ts}, update_time ${ts}, user_id integer REFERENCES galaxy_user (id),
      remote_host varchar(255), remote_addr varchar(255), referer text,
      current_history_id integer REFERENCES history (id), session_key varchar(255), is_valid boolean,
      prev_session_id integer, disk_usage numeric(15,0), last_action ${ts})`,
    'CREATE UNIQUE INDEX ix_galaxy_session_session_key ON galaxy_session (session_key)',
    'CREATE INDEX ix_galaxy_session_user_id ON galaxy_session (user_id)',

    `CREATE TABLE galaxy_session_to_history (
      ${id}, create_time ${ts}, session_id integer REFERENCES galaxy_session (id) ON DELETE CASCADE,
      history_id integer REFERENCES history (id))`,
    'CREATE INDEX ix_galaxy_session_to_history_session_id ON galaxy_session_to_history (session_id)',
    'CREATE INDEX ix_galaxy_session_to_history_history_id ON galaxy_session_to_history (history_id)',

    `CREATE TABLE api_keys (
      ${id}, create_time ${ts}, user_id integer REFERENCES galaxy_user (id), key varchar(32),
      deleted boolean NOT NULL DEFAULT false)`,
    'CREATE UNIQUE INDEX ix_api_keys_key ON api_keys (key)',
    'CREATE INDEX ix_api_keys_user_id ON api_keys (user_id)',
    'CREATE INDEX ix_api_keys_deleted ON api_keys (deleted)',

    `CREATE TABLE history_user_share_association (
      ${id}, history_id integer REFERENCES history (id), user_id integer REFERENCES galaxy_user (id))`,
    'CREATE INDEX ix_history_user_share_association_history_id ON history_user_share_association (history_id)',
    'CREATE INDEX ix_history_user_share_association_user_id ON history_user_share_association (user_id)',

    `CREATE TABLE history_dataset_association (
      ${id}, history_id integer REFERENCES history (id), dataset_id integer, create_time ${ts}, update_time ${ts},
      state varchar(64), copied_from_history_dataset_association_id integer,
      copied_from_library_dataset_dataset_association_id integer, name varchar(255), info varchar(255),
      blurb varchar(255), peek text, tool_version text, extension varchar(64), metadata ${json},
      metadata_deferred boolean, parent_id integer, designation varchar(255), deleted boolean, visible boolean,
      extended_metadata_id integer, version integer, hid integer, purged boolean,
      validated_state varchar(64) NOT NULL, validated_state_message text,
      hidden_beneath_collection_instance_id integer)`,
    'CREATE INDEX ix_history_dataset_association_history_id ON history_dataset_association (history_id)',

    `CREATE TABLE history_dataset_collection_association (
      ${id}, collection_id integer, history_id integer REFERENCES history (id), name varchar(255), hid integer,
      visible boolean, deleted boolean, copied_from_history_dataset_collection_association_id integer,
      implicit_output_name varchar(255), job_id integer, implicit_collection_jobs_id integer,
      create_time ${ts}, update_time ${ts})`,
    'CREATE INDEX ix_history_dataset_collection_association_history_id ON history_dataset_collection_association (history_id)',

    `CREATE TABLE history_audit (
      history_id integer NOT NULL REFERENCES history (id), update_time ${ts} NOT NULL,
      PRIMARY KEY (history_id, update_time)${sqlite ? ' ON CONFLICT IGNORE' : ''})`,
    'CREATE INDEX ix_history_audit_update_time ON history_audit (update_time)',

    `CREATE TABLE notification (
      ${id}, create_time ${ts}, update_time ${ts}, publication_time ${ts}, expiration_time ${ts},
      source varchar(32), category varchar(64), variant varchar(16), dispatched boolean NOT NULL,
      galaxy_url varchar(255), content ${json})`,
    'CREATE INDEX ix_notification_publication_time ON notification (publication_time)',

    `CREATE TABLE user_notification_association (
      ${id}, user_id integer REFERENCES galaxy_user (id), notification_id integer REFERENCES notification (id),
      seen_time ${ts}, deleted boolean, update_time ${ts})`,
    'CREATE INDEX ix_user_notification_association_user_id ON user_notification_association (user_id)',
    'CREATE INDEX ix_user_notification_association_notification_id ON user_notification_association (notification_id)',

    `CREATE TABLE user_preference (
      ${id}, user_id integer REFERENCES galaxy_user (id), name varchar(255), value text)`,
    'CREATE INDEX ix_user_preference_user_id ON user_preference (user_id)',

    `CREATE TABLE job (
      ${id}, create_time ${ts}, update_time ${ts}, user_id integer REFERENCES galaxy_user (id),
      session_id integer REFERENCES galaxy_session (id), history_id integer REFERENCES history (id),
      state varchar(64), tool_id varchar(255))`,
    'CREATE INDEX ix_job_user_id ON job (user_id)',
    'CREATE INDEX ix_job_session_id ON job (session_id)',

    `CREATE TABLE interactivetool_entry_point (
      ${id}, job_id integer REFERENCES job (id), name text, token text NOT NULL, tool_port integer, host text,
      port integer, protocol text, entry_url text, requires_domain boolean, requires_path_in_url boolean,
      requires_path_in_header_named text, info ${json}, configured boolean, deleted boolean,
      created_time ${ts}, modified_time ${ts}, label text)`,
    'CREATE INDEX ix_interactivetool_entry_point_job_id ON interactivetool_entry_point (job_id)',
    'CREATE INDEX ix_interactivetool_entry_point_modified_time ON interactivetool_entry_point (modified_time)',
  ];
}
