import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { AuthConfig } from '../../src/config/config.js';
import type { UserId } from '../../src/core/events.js';
import { SqlAccounts } from '../../src/database/accounts.js';
import type { SqliteDatabase } from '../../src/database/sqlite/database.js';
import { readCookie } from '../../src/http/auth/credentials.js';
import { GalaxyAuthenticator } from '../../src/http/auth/galaxy-authenticator.js';
import { IdCodec } from '../../src/http/auth/id-codec.js';
import { systemClock } from '../../src/lib/clock.js';
import {
  ADMIN,
  ALICE,
  ALICE_SESSION_KEY,
  ANONYMOUS_SESSION_KEY,
  BOB,
  ENDED_SESSION_KEY,
  openSeededDatabase,
  SECRET,
  SESSION,
} from '../support/http-server.js';

const idCodec = new IdCodec(SECRET);
let database: SqliteDatabase;
let close: () => Promise<void>;
let nowMs: number;
let authenticator: GalaxyAuthenticator;

const withAuth = (auth: Partial<AuthConfig> = {}): GalaxyAuthenticator =>
  new GalaxyAuthenticator({
    accounts: new SqlAccounts(database, { standalone: true }),
    idCodec,
    auth: { adminUsers: [], apiAllowRunAs: [], bootstrapAdminApiKey: undefined, ...auth },
    clock: { now: () => nowMs * 1000, monotonic: () => nowMs },
  });

beforeEach(async () => {
  ({ database, close } = await openSeededDatabase());
  nowMs = 1_000_000;
  authenticator = withAuth();
});
afterEach(() => close());

const byKey = (key: string, headers: Record<string, string> = {}) => ({
  headers: { 'x-api-key': key, ...headers },
  query: {},
});
const byCookie = (sessionKey: string, headers: Record<string, string> = {}) => ({
  headers: { cookie: `galaxysession=${idCodec.encodeSessionKey(sessionKey)}`, ...headers },
  query: {},
});
const statementsOf = async (work: () => Promise<unknown>): Promise<number> => {
  const before = database.statements;
  await work();
  return database.statements - before;
};

describe('a caller', () => {
  test('who shows nothing is anonymous and costs no statement', async () => {
    const nobody = { headers: {}, query: {} };
    expect(await statementsOf(() => authenticator.authenticate(nobody))).toBe(0);
    expect(authenticator.tryCached(nobody)).toMatchObject({ userId: undefined, sessionId: undefined });
  });

  test('with a bearer token only is anonymous', async () => {
    const principal = await authenticator.authenticate({ headers: { authorization: 'Bearer x' }, query: {} });
    expect(principal.userId).toBeUndefined();
  });

  test('is known by a key in the header', async () => {
    expect(await authenticator.authenticate(byKey('key-alice'))).toEqual({
      userId: ALICE,
      sessionId: undefined,
      isAdmin: false,
      credential: { kind: 'api_key', key: 'key-alice', userId: ALICE },
    });
  });

  test('is known by a key in the query, which goes before the header', async () => {
    const request = { headers: { 'x-api-key': 'key-alice' }, query: { key: 'key-bob' } };
    expect(await authenticator.authenticate(request)).toMatchObject({ userId: BOB });
  });

  test('is known by the cookie, with user and session', async () => {
    expect(await authenticator.authenticate(byCookie(ALICE_SESSION_KEY))).toEqual({
      userId: ALICE,
      sessionId: SESSION.alice,
      isAdmin: false,
      credential: { kind: 'session', sessionId: SESSION.alice },
    });
  });

  test('with an anonymous session stays anonymous even beside a good key', async () => {
    expect(
      await authenticator.authenticate(byCookie(ANONYMOUS_SESSION_KEY, { 'x-api-key': 'key-bob' })),
    ).toMatchObject({ userId: undefined, sessionId: SESSION.anonymous });
  });

  test('with a wrong key is refused even beside a good cookie', async () => {
    await expect(
      authenticator.authenticate(byCookie(ALICE_SESSION_KEY, { 'x-api-key': 'wrong' })),
    ).rejects.toMatchObject({ code: 'CREDENTIALS_INVALID' });
  });

  test('whose session has ended is the owner of the key, or anonymous', async () => {
    expect(
      await authenticator.authenticate(byCookie(ENDED_SESSION_KEY, { 'x-api-key': 'key-bob' })),
    ).toMatchObject({ userId: BOB, sessionId: undefined });
    expect(await authenticator.authenticate(byCookie(ENDED_SESSION_KEY))).toMatchObject({
      userId: undefined,
      sessionId: undefined,
      credential: { kind: 'none' },
    });
  });

  test('with a malformed cookie is told what is wrong with it', async () => {
    const request = { headers: { cookie: 'galaxysession=nonsense' }, query: {} };
    await expect(authenticator.authenticate(request)).rejects.toMatchObject({
      code: 'MALFORMED_ID',
      message: 'the galaxysession cookie cannot be decoded: it is damaged, or another id_secret was used',
    });
  });

  test('who gives two keys is refused', async () => {
    const request = { headers: {}, query: { key: ['key-alice', 'key-bob'] } };
    await expect(authenticator.authenticate(request)).rejects.toMatchObject({ code: 'PARAMETER_INVALID' });
  });

  test.each(['x'.repeat(65), 'key alice', 'kéy', 'key\u0000'])(
    'with a key that cannot be one (%j) is refused without a statement',
    async (key) => {
      const refused = expect(authenticator.authenticate(byKey(key))).rejects;
      expect(await statementsOf(() => refused.toMatchObject({ code: 'CREDENTIALS_INVALID' }))).toBe(0);
    },
  );
});

describe('an administrator', () => {
  test('is one by the flag of the account', async () => {
    expect(await authenticator.authenticate(byKey('key-admin'))).toMatchObject({
      userId: ADMIN,
      isAdmin: true,
    });
  });

  test('is one by admin_users, with key and with session', async () => {
    const listed = withAuth({ adminUsers: ['alice@example.org'] });
    expect(await listed.authenticate(byKey('key-alice'))).toMatchObject({ isAdmin: true });
    expect(await listed.authenticate(byCookie(ALICE_SESSION_KEY))).toMatchObject({ isAdmin: true });
    expect(await listed.authenticate(byKey('key-bob'))).toMatchObject({ isAdmin: false });
  });

  test('is the holder of the bootstrap key, without being a user', async () => {
    const bootstrap = withAuth({
      bootstrapAdminApiKey: 'a bootstrap key, longer than any key of a user may be: 64 characters',
    });
    expect(
      await bootstrap.authenticate(
        byKey('a bootstrap key, longer than any key of a user may be: 64 characters'),
      ),
    ).toEqual({
      userId: undefined,
      sessionId: undefined,
      isAdmin: true,
      credential: { kind: 'bootstrap_key' },
    });
  });
});

describe('acting for another user', () => {
  const asBob = { 'run-as': idCodec.encodeId(BOB) };

  test('is allowed to those in api_allow_run_as, with the rights of the other', async () => {
    const allowed = withAuth({ apiAllowRunAs: ['admin@example.org'] });
    expect(await allowed.authenticate(byKey('key-admin', asBob))).toMatchObject({
      userId: BOB,
      isAdmin: false,
      credential: { kind: 'api_key', userId: ADMIN },
    });
  });

  test('is allowed to the bootstrap key', async () => {
    const bootstrap = withAuth({ bootstrapAdminApiKey: 'bootstrap' });
    expect(await bootstrap.authenticate(byKey('bootstrap', asBob))).toMatchObject({
      userId: BOB,
      isAdmin: false,
    });
  });

  test.each([
    ['by somebody else', 'key-alice', idCodec.encodeId(BOB), 'RUN_AS_FORBIDDEN'],
    ['for an id that cannot be decoded', 'key-admin', 'bob', 'MALFORMED_ID'],
    ['for a user who does not exist', 'key-admin', idCodec.encodeId(99), 'RUN_AS_UNKNOWN'],
  ])('%s is refused', async (_, key, runAs, code) => {
    const allowed = withAuth({ apiAllowRunAs: ['admin@example.org'] });
    await expect(allowed.authenticate(byKey(key, { 'run-as': runAs }))).rejects.toMatchObject({ code });
  });

  test('is ignored beside a valid session', async () => {
    expect(
      await authenticator.authenticate(byCookie(ALICE_SESSION_KEY, { 'x-api-key': 'key-bob', ...asBob })),
    ).toMatchObject({ userId: ALICE });
  });
});

describe('the memory in front of the database', () => {
  test('answers a known caller without a statement and without waiting, for five seconds', async () => {
    const first = await authenticator.authenticate(byKey('key-alice'));
    expect(authenticator.tryCached(byKey('key-alice'))).toBe(first);
    nowMs += 4_999;
    expect(await statementsOf(() => authenticator.authenticate(byKey('key-alice')))).toBe(0);
    nowMs += 1;
    expect(authenticator.tryCached(byKey('key-alice'))).toBeUndefined();
    expect(await statementsOf(() => authenticator.authenticate(byKey('key-alice')))).toBe(1);
  });

  test('asks once for a thousand equal callers at the same moment', async () => {
    const storm = () =>
      Promise.all(Array.from({ length: 1000 }, () => authenticator.authenticate(byKey('key-bob'))));
    expect(await statementsOf(storm)).toBe(1);
  });

  test('asks at most a hundred times for a crowd of 10,000 whom it does not know, 256 at a time', async () => {
    const numbers =
      '(WITH RECURSIVE n(i) AS (SELECT 11 UNION ALL SELECT i + 1 FROM n WHERE i < 10010) SELECT i FROM n)';
    await database.run(
      `INSERT INTO galaxy_user (id, email, password, active, deleted)
       SELECT i, 'user' || i || '@example.org', '', true, false FROM ${numbers}`,
    );
    await database.run(
      `INSERT INTO api_keys (user_id, key, create_time, deleted)
       SELECT i, 'key-' || i, '2026-01-01 00:00:00', false FROM ${numbers}`,
    );
    const found: (UserId | undefined)[] = [];
    const tabs = async () => {
      for (let i = found.length; i < 10_000; i = found.length) {
        found.push(undefined);
        found[i] = (await authenticator.authenticate(byKey(`key-${i + 11}`))).userId;
      }
    };
    const crowd = () => Promise.all(Array.from({ length: 256 }, tabs));
    expect(await statementsOf(crowd)).toBeLessThanOrEqual(100);
    expect(found).toEqual(Array.from({ length: 10_000 }, (_, i) => i + 11));
  });

  test('asks once in two seconds for a wrong key, and takes it as soon as it is made valid after that', async () => {
    const wrong = () =>
      expect(authenticator.authenticate(byKey('later'))).rejects.toMatchObject({
        code: 'CREDENTIALS_INVALID',
      });
    await wrong();
    expect(await statementsOf(wrong)).toBe(0);
    await database.run("UPDATE api_keys SET key = 'later' WHERE user_id = $1", [BOB]);
    nowMs += 2_000;
    expect(await authenticator.authenticate(byKey('later'))).toMatchObject({ userId: BOB });
  });

  test('asks a few times a second for keys from an address that guesses, however many it shows', async () => {
    const guesser = new GalaxyAuthenticator({
      accounts: new SqlAccounts(database, { standalone: true }),
      idCodec,
      auth: { adminUsers: [], apiAllowRunAs: [], bootstrapAdminApiKey: undefined },
      clock: systemClock,
      limits: { isGuessing: () => true, noteWrongCredential: () => {} },
    });
    const outcomes = new Map<string, number>();
    const answers: Promise<unknown>[] = [];
    const statements = await statementsOf(async () => {
      const end = performance.now() + 600;
      for (let i = 0; i < 120 || performance.now() < end; i += 1) {
        const answer = guesser.authenticate(byKey(`no-${i}`)).catch(({ code }: { code: string }) => {
          outcomes.set(code, (outcomes.get(code) ?? 0) + 1);
        });
        answers.push(answer);
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      // A user who signs in from there waits with them, a moment.
      await expect
        .poll(() => guesser.authenticate(byKey('key-alice')).catch(() => undefined))
        .toMatchObject({ userId: ALICE });
      await Promise.all(answers);
    });
    expect(statements).toBeLessThanOrEqual(8);
    expect(outcomes.get('CREDENTIALS_INVALID')).toBeGreaterThan(90);
  });

  test('never confuses callers, whatever characters they send', async () => {
    await authenticator.authenticate(byCookie(ALICE_SESSION_KEY, { 'x-api-key': 'key-bob' }));
    const cookie = idCodec.encodeSessionKey(ALICE_SESSION_KEY);
    for (const glue of ['', '\n', '\u0000', '","', ',']) {
      const forged = { headers: {}, query: { key: `key-bob${glue}${glue}${cookie}` } };
      expect(authenticator.tryCached(forged)).toBeUndefined();
      await expect(authenticator.authenticate(forged)).rejects.toMatchObject({ code: 'CREDENTIALS_INVALID' });
    }
  });

  test('does not keep what is too long to be anybody’s, so that strangers cannot fill it', async () => {
    const refusal = (key: string) => authenticator.authenticate(byKey(key)).catch((error: Error) => error);
    expect(await refusal('short')).toBe(await refusal('short'));
    const long = 'x'.repeat(15_000);
    expect(await refusal(long)).toMatchObject({ code: 'CREDENTIALS_INVALID' });
    expect(await refusal(long)).not.toBe(await refusal(long));
    const padded = byCookie(ALICE_SESSION_KEY, { 'run-as': long });
    expect(await authenticator.authenticate(padded)).toMatchObject({ userId: ALICE });
    expect(authenticator.tryCached(padded)).toBeUndefined();
  });

  test('lets known callers in for a minute while the database is away, and no others', async () => {
    await authenticator.authenticate(byKey('key-alice'));
    await database.stop();
    nowMs += 59_999;
    expect(await authenticator.authenticate(byKey('key-alice'))).toMatchObject({ userId: ALICE });
    await expect(authenticator.authenticate(byKey('key-bob'))).rejects.toMatchObject({
      code: 'DATABASE_UNAVAILABLE',
    });
    nowMs += 1;
    await expect(authenticator.authenticate(byKey('key-alice'))).rejects.toMatchObject({
      code: 'DATABASE_UNAVAILABLE',
    });
  });
});

describe('looking at open streams again', () => {
  test('keeps those that still hold and names those that do not, in two statements and one for administrators', async () => {
    const alice = await authenticator.authenticate(byCookie(ALICE_SESSION_KEY));
    const anonymous = await authenticator.authenticate(byCookie(ANONYMOUS_SESSION_KEY));
    const bob = await authenticator.authenticate(byKey('key-bob'));
    const admin = await authenticator.authenticate(byKey('key-admin'));
    const nobody = await authenticator.authenticate({ headers: {}, query: {} });
    const all = [alice, anonymous, bob, admin, nobody];
    expect(await authenticator.recheck(all)).toEqual(new Set(all));

    await database.run('UPDATE galaxy_session SET is_valid = false WHERE id = $1', [SESSION.alice]);
    await database.run('UPDATE galaxy_user SET deleted = true WHERE id = $1', [BOB]);
    const statements = await statementsOf(async () => {
      expect(await authenticator.recheck(all)).toEqual(new Set([anonymous, admin, nobody]));
    });
    expect(statements).toBe(3);
    // Who comes back at once is not let in from memory.
    await expect(authenticator.authenticate(byKey('key-bob'))).rejects.toMatchObject({
      code: 'CREDENTIALS_INVALID',
    });
  });

  test('ends a stream whose session has become another user’s', async () => {
    const anonymous = await authenticator.authenticate(byCookie(ANONYMOUS_SESSION_KEY));
    await database.run('UPDATE galaxy_session SET user_id = $1 WHERE id = $2', [BOB, SESSION.anonymous]);
    expect(await authenticator.recheck([anonymous])).toEqual(new Set());
  });

  test('ends what acts for a user who is deleted, and nothing else of the same key', async () => {
    const options = { apiAllowRunAs: ['admin@example.org'], bootstrapAdminApiKey: 'bootstrap' };
    const allowed = withAuth(options);
    const asOther = (key: string, id: number) =>
      allowed.authenticate(byKey(key, { 'run-as': idCodec.encodeId(id) }));
    const admin = await allowed.authenticate(byKey('key-admin'));
    const asAlice = await asOther('key-admin', ALICE);
    const [asBob, bootstrapAsBob] = [await asOther('key-admin', BOB), await asOther('bootstrap', BOB)];
    const all = [admin, asAlice, asBob, bootstrapAsBob];
    expect(await allowed.recheck(all)).toEqual(new Set(all));
    await database.run('UPDATE galaxy_user SET deleted = true WHERE id = $1', [BOB]);
    expect(await allowed.recheck(all)).toEqual(new Set([admin, asAlice]));
    await expect(
      withAuth(options).authenticate(byKey('key-admin', { 'run-as': idCodec.encodeId(BOB) })),
    ).rejects.toMatchObject({ code: 'RUN_AS_UNKNOWN' });
  });

  test('asks for a credential once, however many callers have it', async () => {
    const bob = await authenticator.authenticate(byKey('key-bob'));
    const alice = await authenticator.authenticate(byCookie(ALICE_SESSION_KEY));
    const all = [bob, { ...bob }, alice, { ...alice }];
    const keys = vi.spyOn(SqlAccounts.prototype, 'validApiKeys');
    const sessions = vi.spyOn(SqlAccounts.prototype, 'validSessions');
    try {
      expect(await authenticator.recheck(all)).toEqual(new Set(all));
      expect(keys.mock.calls).toEqual([[['key-bob']]]);
      expect(sessions.mock.calls).toEqual([[[SESSION.alice]]]);
    } finally {
      vi.restoreAllMocks();
    }
  });

  test('works for thousands of sessions in few statements', async () => {
    const one = await authenticator.authenticate(byCookie(ALICE_SESSION_KEY));
    const many = Array.from({ length: 2_000 }, () => ({ ...one }));
    const statements = await statementsOf(async () => {
      expect((await authenticator.recheck(many)).size).toBe(2_000);
    });
    expect(statements).toBe(2);
  });
});

describe('the cookie header', () => {
  test.each([
    ['galaxysession=a', 'a'],
    ['other=1; galaxysession=a; more=2', 'a'],
    ['galaxysession="a"', 'a'],
    ['galaxysession=a; galaxysession=b', 'a'],
    [' galaxysession = a ', 'a'],
    ['xgalaxysession=b', undefined],
    ['galaxysession', undefined],
    ['galaxysession=', undefined],
    ['galaxysession=""', undefined],
    ['', undefined],
  ])('%j gives %j', (header, value) => {
    expect(readCookie(header, 'galaxysession')).toBe(value);
  });
});
