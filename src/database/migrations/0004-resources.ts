import type { Dialect } from '../port.js';

/**
 * Tables of the standalone API beside Galaxy's core tables: groups and roles as recipients of notifications, with
 * Galaxy's columns, and the transactional outbox.
 */
export function resourceTables(dialect: Dialect): string[] {
  const sqlite = dialect === 'sqlite';
  const id = sqlite ? 'id INTEGER PRIMARY KEY' : 'id serial PRIMARY KEY';
  const ts = sqlite ? 'datetime' : 'timestamp without time zone';
  return [
    `CREATE TABLE galaxy_group (
      ${id}, create_time ${ts}, update_time ${ts}, name varchar(255) UNIQUE, deleted boolean)`,
    `CREATE TABLE user_group_association (
      ${id}, user_id integer REFERENCES galaxy_user (id), group_id integer REFERENCES galaxy_group (id),
      create_time ${ts}, update_time ${ts})`,
    'CREATE INDEX ix_user_group_association_group_id ON user_group_association (group_id)',

    `CREATE TABLE role (
      ${id}, create_time ${ts}, update_time ${ts}, name varchar(255), description text, type varchar(40),
      deleted boolean)`,
    `CREATE TABLE user_role_association (
      ${id}, user_id integer REFERENCES galaxy_user (id), role_id integer REFERENCES role (id),
      create_time ${ts}, update_time ${ts})`,
    'CREATE INDEX ix_user_role_association_role_id ON user_role_association (role_id)',

    // `subject` allows an entry to be replaced while it waits. A claim prevents two processes from publishing the same
    // entry.
    `CREATE TABLE lightcone_outbox (
      ${id}, subject varchar(64), entry text NOT NULL, due_time ${ts} NOT NULL,
      claimed_by varchar(64), claimed_until ${ts})`,
    'CREATE INDEX ix_lightcone_outbox_due_time ON lightcone_outbox (due_time)',
    'CREATE INDEX ix_notification_expiration_time ON notification (expiration_time)',
  ];
}
