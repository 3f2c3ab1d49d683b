import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SqlAccounts } from '../../src/database/accounts.js';
import { addUser, type DemoData, seedDemo } from '../../src/database/demo.js';
import { listUsers, removeUser, renewKey, revokeAccess } from '../../src/database/users.js';
import { formatSql } from '../../src/lib/time.js';
import { type AnyDatabase, type DatabaseFixture, FIXTURES, openMigrated } from '../support/databases.js';

describe.each(FIXTURES)('accounts on %s', (_kind, makeFixture) => {
  let fixture: DatabaseFixture;
  let db: AnyDatabase;
  let demo: DemoData;
  beforeAll(async () => {
    fixture = await makeFixture();
    db = await openMigrated(fixture);
    demo = (await seedDemo(db))!;
  });
  afterAll(async () => {
    await fixture.close();
  });

  const alice = () => demo.users[0]!;
  const bob = () => demo.users[1]!;
  const accounts = () => new SqlAccounts(db, { standalone: true });
  const userByApiKey = async (key: string, of = accounts()) => (await of.usersByApiKeys([key])).get(key);
  const sessionByKey = async (key: string) => (await accounts().sessionsByKeys([key])).get(key);

  it('know the demo users by their keys, and who of them is an administrator', async () => {
    expect(await userByApiKey('demo-alice')).toEqual({
      userId: alice().userId,
      email: 'alice@example.org',
      isAdmin: false,
    });
    expect((await userByApiKey('demo-admin'))!.isAdmin).toBe(true);
    expect((await userByApiKey('demo-admin', new SqlAccounts(db, { standalone: false })))!.isAdmin).toBe(
      false,
    );
    expect(await userByApiKey('wrong')).toBeUndefined();
  });

  it('accept the newest undeleted key of an undeleted user only', async () => {
    const key = await addUser(db, ' Carol@Example.org ', { admin: true });
    const carol = (await userByApiKey(key))!;
    expect(carol).toMatchObject({ email: 'carol@example.org', isAdmin: true });
    const later = formatSql((await db.now()) + 1_000);
    await fixture.foreign(
      `INSERT INTO api_keys (create_time, user_id, key, deleted) VALUES ('${later}', ${carol.userId}, 'carol-2', false)`,
    );
    expect(await userByApiKey(key)).toBeUndefined();
    const keys = [key, 'carol-2', 'demo-bob', 'wrong'];
    expect([...(await accounts().usersByApiKeys(keys)).keys()].sort()).toEqual(['carol-2', 'demo-bob']);
    expect(await accounts().validApiKeys(keys)).toEqual(new Set(['carol-2', 'demo-bob']));
    await fixture.foreign("UPDATE api_keys SET deleted = true WHERE key = 'carol-2'");
    expect((await userByApiKey(key))!.userId).toBe(carol.userId);
    await fixture.foreign(`UPDATE galaxy_user SET deleted = true WHERE id = ${carol.userId}`);
    expect(await userByApiKey(key)).toBeUndefined();
    expect(await accounts().emailsOf([alice().userId, carol.userId, 98_765])).toEqual(
      new Map([[alice().userId, 'alice@example.org']]),
    );
  });

  it('are listed without keys, and get a new key, lose access and come back as an administrator says', async () => {
    const listed = async () => (await listUsers(db)).find(({ email }) => email === 'dora@example.org');
    const first = await addUser(db, 'dora@example.org', { admin: true });
    const dora = (await userByApiKey(first))!.userId;
    expect(await listed()).toMatchObject({ isAdmin: true, keySince: expect.stringMatching(/^20\d\d-/) });
    const second = await renewKey(db, ' Dora@Example.org');
    expect(await accounts().validApiKeys([first, second])).toEqual(new Set([second]));
    const now = formatSql(await db.now());
    await fixture.foreign(
      `INSERT INTO galaxy_session (create_time, update_time, session_key, is_valid, user_id) VALUES ('${now}', '${now}', 'd0', true, ${dora})`,
    );
    expect(await sessionByKey('d0')).toMatchObject({ userId: dora });
    await revokeAccess(db, 'dora@example.org');
    expect(await accounts().validApiKeys([first, second])).toEqual(new Set());
    expect(await sessionByKey('d0')).toBeUndefined();
    expect(await listed()).toMatchObject({ keySince: undefined });
    await removeUser(db, 'dora@example.org');
    expect(await listed()).toBeUndefined();
    await expect(renewKey(db, 'dora@example.org')).rejects.toMatchObject({ code: 'NOT_FOUND' });
    const third = await addUser(db, 'dora@example.org');
    expect(await userByApiKey(third)).toEqual({ userId: dora, email: 'dora@example.org', isAdmin: false });
    expect(await accounts().validApiKeys([first, second])).toEqual(new Set());
    // For the tests after this one.
    await removeUser(db, 'dora@example.org');
  });

  it('refuse a second user with the same address, and what is no address', async () => {
    await expect(addUser(db, 'ALICE@example.org')).rejects.toMatchObject({ code: 'CONFLICT' });
    await expect(addUser(db, 'nobody')).rejects.toMatchObject({ code: 'PARAMETER_INVALID' });
  });

  it('know valid sessions, and forget them when they are ended', async () => {
    const { sessionKey, sessionId } = demo.anonymous;
    expect(await sessionByKey(sessionKey)).toEqual({
      sessionId,
      userId: undefined,
      email: undefined,
      isAdmin: false,
    });
    await fixture.foreign(`
      INSERT INTO galaxy_session (id, user_id, session_key, is_valid)
      VALUES (900, ${alice().userId}, 'a-key', true), (901, ${bob().userId}, 'b-key', false)`);
    expect((await sessionByKey('a-key'))!.userId).toBe(alice().userId);
    expect(await sessionByKey('b-key')).toBeUndefined();
    await fixture.foreign(`UPDATE galaxy_user SET deleted = true WHERE id = ${alice().userId}`);
    expect(await sessionByKey('a-key')).toBeUndefined();
    await fixture.foreign(`UPDATE galaxy_user SET deleted = false WHERE id = ${alice().userId}`);
    expect(await accounts().validSessions([900, 901, 902, sessionId])).toEqual(
      new Map([
        [900, alice().userId],
        [sessionId, undefined],
      ]),
    );
  });

  it('let owners, those it is shared with, the anonymous session and administrators see a history', async () => {
    const anonymous = demo.anonymous;
    const all = [alice().historyId, bob().historyId, anonymous.historyId];
    const sees = async (caller: { userId?: number; sessionId?: number; isAdmin?: boolean }) =>
      [
        ...(await accounts().accessibleHistories(
          { userId: caller.userId, sessionId: caller.sessionId, isAdmin: caller.isAdmin ?? false },
          [...all, 424_242],
        )),
      ].sort((a, b) => a - b);
    expect(await sees({ userId: alice().userId })).toEqual([alice().historyId]);
    expect(await sees({ sessionId: anonymous.sessionId })).toEqual([anonymous.historyId]);
    expect(await sees({})).toEqual([]);
    expect(await sees({ isAdmin: true })).toEqual(all);
    await fixture.foreign(
      `INSERT INTO history_user_share_association (history_id, user_id) VALUES (${bob().historyId}, ${alice().userId})`,
    );
    expect(await sees({ userId: alice().userId })).toEqual([alice().historyId, bob().historyId]);
    await fixture.foreign(`UPDATE history SET importable = true WHERE id = ${bob().historyId}`);
    expect(await sees({})).toEqual([bob().historyId]);
    const caller = { userId: undefined, sessionId: undefined, isAdmin: false };
    const before = db.statements;
    expect(
      await accounts().accessibleToEach([
        { caller, historyIds: all },
        { caller: { ...caller, userId: alice().userId }, historyIds: [alice().historyId] },
        { caller: { ...caller, userId: bob().userId }, historyIds: [alice().historyId, 2 ** 40] },
        { caller: { ...caller, isAdmin: true }, historyIds: all },
        { caller, historyIds: [] },
      ]),
    ).toEqual([new Set([bob().historyId]), new Set([alice().historyId]), new Set(), new Set(all), new Set()]);
    expect(db.statements - before).toBe(1);
  });
});
