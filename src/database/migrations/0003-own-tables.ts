import type { Dialect } from '../port.js';

const timestamp = (dialect: Dialect) => (dialect === 'sqlite' ? 'datetime' : 'timestamp without time zone');

/** The stored cursor of the monitor; in a database of Galaxy, Lightcone's only table. */
const cursorTable = (dialect: Dialect): string =>
  `CREATE TABLE IF NOT EXISTS lightcone_cursor (
    role varchar(64) PRIMARY KEY, cursor ${timestamp(dialect)} NOT NULL, update_time ${timestamp(dialect)} NOT NULL)`;

export const ownTables = (dialect: Dialect): string[] => [
  cursorTable(dialect),
  // Galaxy keeps its administrators in the configuration; users made by a command need a table.
  'CREATE TABLE lightcone_admin (user_id integer PRIMARY KEY REFERENCES galaxy_user (id))',
];
