/** On SQLite a moment is text, and the clock is coarser than what is written. */
import BetterSqlite from 'better-sqlite3';
import { expect, it } from 'vitest';
import { isDue } from '../../src/database/dialect.js';

// Within one statement SQLite's clock stands still.
it.each([
  ['this very millisecond, as we write it', `strftime('%Y-%m-%d %H:%M:%f','now') || '000'`, 1],
  ['this very millisecond, as SQLite writes it', `strftime('%Y-%m-%d %H:%M:%f','now')`, 1],
  ['the last millisecond', `strftime('%Y-%m-%d %H:%M:%f','now','-0.001 seconds') || '000'`, 1],
  ['two milliseconds from now', `strftime('%Y-%m-%d %H:%M:%f','now','+0.002 seconds') || '000'`, 0],
])('has come or not: %s', (_, moment, expected) => {
  const db = new BetterSqlite(':memory:');
  const [row] = db.prepare(`SELECT ${isDue('sqlite', 'm')} AS come FROM (SELECT ${moment} AS m)`).all();
  db.close();
  expect(row).toEqual({ come: expected });
});
