/** Rows that no clock and no program of ours would write: what stands beside them is read all the same. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SqlChangeLog } from '../../src/database/change-log.js';
import { seedDemo } from '../../src/database/demo.js';
import { SqlNotificationLog } from '../../src/database/notification-log.js';
import { parseSql } from '../../src/lib/time.js';
import { type AnyDatabase, type DatabaseFixture, FIXTURES, openMigrated } from '../support/databases.js';

const FUTURE = Date.UTC(2027, 0, 1) * 1000;
const encodeId = (id: number): string => `n${id}`;

describe.each(FIXTURES)('on %s', (kind, open) => {
  let fixture: DatabaseFixture;
  let db: AnyDatabase;
  let skippedRows: [table: string, ids: readonly number[]][];
  const onUnreadable = (table: string, ids: readonly number[]): void => void skippedRows.push([table, ids]);
  beforeEach(async () => {
    fixture = await open();
    db = await openMigrated(fixture);
    await seedDemo(db);
    skippedRows = [];
  });
  afterEach(() => fixture.close());

  const now = (): Promise<number> => db.now();
  const histories = async (): Promise<[number, number]> => {
    const rows = await db.all<{ id: number }>('SELECT id FROM history ORDER BY id LIMIT 2');
    return [rows[0]!.id, rows[1]!.id];
  };
  const bad =
    kind === 'postgresql'
      ? ['infinity', '294276-12-31 23:59:59.999', '2999-01-01']
      : ['infinity', 'soon', '2999-01-01'];
  const early =
    kind === 'postgresql'
      ? ['-infinity', '4713-01-01 00:00:00 BC', '1969-12-31 23:59:59']
      : ['1969-12-31 23:59:59'];

  describe.each(bad)('an audit row of %s', (time) => {
    it('is left out and named: it is not new for ever, and hides neither other rows nor other histories', async () => {
      const [one, other] = await histories();
      const log = new SqlChangeLog(db, onUnreadable);
      const floor = (await now()) - 1_000_000;
      await db.run('DELETE FROM history_audit');
      await db.run(`UPDATE history SET name = 'again' WHERE id = ${other}`);
      await db.run(`INSERT INTO history_audit (history_id, update_time) VALUES (${one}, '${time}')`);
      const before = await log.changesSince(floor, { kind: 'all' });
      expect(before.map(({ historyId }) => historyId)).toEqual([other]);
      expect(before[0]!.newest).toBeLessThan(FUTURE);
      expect(skippedRows).toEqual([['history_audit', [one]]]);
      await db.run(`UPDATE history SET name = 'again' WHERE id = ${one}`);
      const after = await log.changesSince(floor, { kind: 'all' });
      expect(after.map(({ historyId }) => historyId)).toEqual([one, other]);
      expect(after[0]!.newest).toBeLessThan(FUTURE);
    });

    it('that is announced is told as of now, with the rest', async () => {
      const [one, other] = await histories();
      await db.run('DELETE FROM history_audit');
      await db.run(`UPDATE history SET name = 'again' WHERE id = ${other}`);
      await db.run(`INSERT INTO history_audit (history_id, update_time) VALUES (${one}, '${time}')`);
      const changes = await new SqlChangeLog(db, onUnreadable).changesOf([one, other]);
      expect(changes.map(({ historyId }) => historyId)).toEqual([one, other]);
      for (const { newest } of changes) {
        expect(newest).toBeGreaterThan((await now()) - 60_000_000);
        expect(newest).toBeLessThan(FUTURE);
      }
      expect(skippedRows).toEqual([['history_audit', [one]]]);
    });
  });

  it.each(early)('an audit row of %s is old, and nothing more', async (time) => {
    const [one] = await histories();
    await db.run('DELETE FROM history_audit');
    await db.run(`INSERT INTO history_audit (history_id, update_time) VALUES (${one}, '${time}')`);
    const log = new SqlChangeLog(db, onUnreadable);
    expect(await log.changesSince(await now(), { kind: 'all' })).toEqual([]);
    expect(await log.changesOf([one])).toMatchObject([{ historyId: one, newest: 0 }]);
  });

  /** @returns its id */
  async function notification(columns: Record<string, string>, category = 'message'): Promise<number> {
    const clock =
      kind === 'postgresql'
        ? "(clock_timestamp() AT TIME ZONE 'UTC')"
        : "strftime('%Y-%m-%d %H:%M:%f','now')";
    const later =
      kind === 'postgresql' ? `${clock} + interval '1 day'` : "strftime('%Y-%m-%d %H:%M:%f','now','+1 day')";
    const all = {
      create_time: clock,
      update_time: clock,
      publication_time: clock,
      expiration_time: later,
      source: "'x'",
      category: `'${category}'`,
      variant: "'info'",
      dispatched: 'true',
      content: `'{}'`,
      ...columns,
    };
    const [row] = await db.all<{ id: number }>(
      `INSERT INTO notification (${Object.keys(all).join(', ')}) VALUES (${Object.values(all).join(', ')}) RETURNING id`,
    );
    await db.run(
      `INSERT INTO user_notification_association (user_id, notification_id, deleted, update_time) VALUES (1, ${row!.id}, false, ${clock})`,
    );
    return row!.id;
  }
  const text = (json: string): string =>
    kind === 'postgresql' ? `convert_to('${json}', 'UTF8')` : `'${json}'`;

  const strange: [string, Record<string, string>][] = [
    ['a content that is no JSON', { content: text('{') }],
    ['a content that is JSON of something else', { content: text('[1]') }],
    ['no content', { content: 'NULL' }],
    ['no times but those it needs', { create_time: 'NULL', update_time: 'NULL' }],
    ['an end in a far year', { expiration_time: "'9999-12-31 23:59:59.999999'" }],
    ...(kind === 'postgresql'
      ? ([
          ['no end at all', { expiration_time: "'infinity'" }],
          ['an end in the last year there is', { expiration_time: "'294276-12-31'" }],
          ['a publication before all time', { publication_time: "'-infinity'" }],
          ['a creation before Christ', { create_time: "'4713-01-01 BC'" }],
          ['a content that is no UTF-8', { content: "'\\xff'::bytea" }],
        ] as [string, Record<string, string>][])
      : ([
          ['a text for a time', { create_time: "'soon'", update_time: "'soon'" }],
          ['no end at all', { expiration_time: "'infinity'" }],
        ] as [string, Record<string, string>][])),
  ];

  it.each(strange)('a notification and a broadcast with %s hide no others', async (_what, columns) => {
    const floor = (await now()) - 1;
    const good = [await notification({}), await notification({}, 'broadcast')];
    await notification(columns);
    await notification(columns, 'broadcast');
    good.push(await notification({}), await notification({}, 'broadcast'));
    const log = new SqlNotificationLog(db, encodeId, onUnreadable);
    const ids = (payloads: string[]): string[] => payloads.map((payload) => JSON.parse(payload).id);
    const told = [...(await log.notificationsSince(floor)), ...(await log.broadcastsSince(floor))];
    expect(ids(told.map(({ payload }) => payload))).toEqual(expect.arrayContaining(good.map(encodeId)));
    const [status] = await log.statuses([{ userId: 1, since: floor }]);
    const { notifications, broadcasts } = JSON.parse(status!) as Record<string, { id: string }[]>;
    expect([...notifications!, ...broadcasts!].map(({ id }) => id)).toEqual(
      expect.arrayContaining(good.map(encodeId)),
    );
  });

  it('each user is asked about from its own cursor on, whatever the others of the batch ask for', async () => {
    await notification({ publication_time: "'2020-01-01 00:00:00'" });
    await db.run("UPDATE user_notification_association SET update_time = '2020-01-01 00:00:00'");
    await db.run(
      "INSERT INTO user_notification_association (user_id, notification_id, deleted, update_time) SELECT 2, notification_id, false, '2020-01-01 00:00:00' FROM user_notification_association",
    );
    const read: number[] = [];
    const counting = Object.create(db, {
      all: {
        value: async (sql: string, params: never) => {
          const rows = await db.all(sql, params);
          if (sql.includes('seen_time, a.deleted') || sql.includes('a.seen_time')) read.push(rows.length);
          return rows;
        },
      },
    }) as AnyDatabase;
    const log = new SqlNotificationLog(counting, encodeId);
    const since = await now();
    const statuses = await log.statuses([
      { userId: 1, since },
      { userId: undefined, since: 0 },
      { userId: 2, since: 0 },
    ]);
    expect(statuses.map((status) => JSON.parse(status).notifications.length)).toEqual([0, 0, 1]);
    // One row of the second user's, none of the first one's. The other is the number of unread ones of each.
    expect(read).toContain(1);
  });
});

it.each([
  ['infinity', '9999-12-31T23:59:59'],
  ['294276-12-31 23:59:59.999', '9999-12-31T23:59:59'],
  ['-infinity', '1970-01-01T00:00:00'],
  ['4713-01-01 00:00:00 BC', '1970-01-01T00:00:00'],
  ['0001-01-01 00:00:00', '1970-01-01T00:00:00'],
  ['1969-12-31 23:59:59.5', '1970-01-01T00:00:00'],
])('the moment %s of a database counts as %s', (text, iso) => {
  expect(new Date(parseSql(text) / 1000).toISOString().slice(0, 19)).toBe(iso);
});

it('what is no moment at all is refused', () => {
  for (const text of ['soon', '', '01/02/2026 00:00:00', '2026-13-01 00:00:00'])
    expect(() => parseSql(text)).toThrow(RangeError);
});
