import { randomBytes } from 'node:crypto';
import { LightconeError } from '../core/errors.js';
import type { HistoryId, SessionId, UserId } from '../core/events.js';
import { utcNow } from './dialect.js';
import { hashPassword } from './passwords.js';
import { type Database, type Sql, type SqlValue, toBoolean } from './port.js';

interface DemoUser {
  email: string;
  userId: UserId;
  apiKey: string;
  historyId: HistoryId;
}

export interface DemoData {
  users: DemoUser[];
  anonymous: {
    sessionId: SessionId;
    /** The decrypted content of the cookie `galaxysession`. */
    sessionKey: string;
    historyId: HistoryId;
  };
}

const DEMO_USERS = [
  { name: 'alice', admin: false },
  { name: 'bob', admin: false },
  { name: 'admin', admin: true },
] as const;

/** These passwords are public, so a cheap hash suffices and the demo starts sooner. */
const DEMO_COST = 2 ** 10;
/** No password has this hash, so only the key gives access. */
const NO_PASSWORD = '!';

/**
 * Fills an empty, migrated database with three users (key and password `demo-<name>`), a history each, and an anonymous
 * session. Keys and passwords are public: never use it on a database that others can reach.
 * @returns undefined if the database has users; it then changes nothing
 */
export function seedDemo(db: Database): Promise<DemoData | undefined> {
  return db.transaction(async (tx) => {
    if ((await tx.all('SELECT 1 FROM galaxy_user LIMIT 1')).length > 0) return undefined;
    const passwords = await Promise.all(
      DEMO_USERS.map(({ name }) => hashPassword(`demo-${name}`, DEMO_COST)),
    );
    const users: DemoUser[] = [];
    for (const [i, { name, admin }] of DEMO_USERS.entries()) {
      const email = `${name}@example.org`;
      const apiKey = `demo-${name}`;
      const userId = await insertUser(tx, email, admin, apiKey, passwords[i]!);
      users.push({ email, userId, apiKey, historyId: await insertHistory(tx, userId, `History of ${name}`) });
    }
    const historyId = await insertHistory(tx, null, 'Unnamed history');
    const sessionKey = randomBytes(16).toString('hex');
    const now = utcNow(tx.dialect);
    const sessionId = await insert(
      tx,
      `INSERT INTO galaxy_session (create_time, update_time, session_key, is_valid, current_history_id)
       VALUES (${now}, ${now}, $1, true, $2)`,
      [sessionKey, historyId],
    );
    await tx.run(
      `INSERT INTO galaxy_session_to_history (create_time, session_id, history_id) VALUES (${now}, $1, $2)`,
      [sessionId, historyId],
    );
    return { users, anonymous: { sessionId, sessionKey, historyId } };
  });
}

/**
 * Adds a user who can authenticate by API key only. A removed user is restored with all data.
 * @returns the new API key, 32 hex characters
 * @throws LightconeError PARAMETER_INVALID or CONFLICT; it then changes nothing
 */
export function addUser(db: Database, email: string, options: { admin?: boolean } = {}): Promise<string> {
  const address = email.trim().toLowerCase();
  if (!/^[^@\s]+@[^@\s]+$/.test(address) || address.length > 255) {
    return Promise.reject(
      new LightconeError('PARAMETER_INVALID', `${JSON.stringify(email)} is not an e-mail address`),
    );
  }
  return db.transaction(async (tx) => {
    const [there] = await tx.all<{ id: number; deleted: unknown }>(
      'SELECT id, deleted FROM galaxy_user WHERE lower(email) = $1',
      [address],
    );
    if (there && !toBoolean(there.deleted)) {
      throw new LightconeError(
        'CONFLICT',
        `user ${address} already exists; "lightcone user key ${address}" creates a new API key`,
      );
    }
    const apiKey = randomBytes(16).toString('hex');
    if (there) await restoreUser(tx, there.id, options.admin === true, apiKey);
    else await insertUser(tx, address, options.admin === true, apiKey, NO_PASSWORD);
    return apiKey;
  });
}

async function insertUser(
  tx: Sql,
  email: string,
  admin: boolean,
  apiKey: string,
  passwordHash: string,
): Promise<UserId> {
  const now = utcNow(tx.dialect);
  const userId = await insert(
    tx,
    `INSERT INTO galaxy_user (create_time, update_time, email, username, password, external, deleted, purged, active)
     VALUES (${now}, ${now}, $1, $2, $3, false, false, false, true)`,
    [email, await freeUsername(tx, email), passwordHash],
  );
  await grant(tx, userId, admin, apiKey);
  return userId;
}

async function restoreUser(tx: Sql, userId: UserId, admin: boolean, apiKey: string): Promise<void> {
  await tx.run(
    `UPDATE galaxy_user SET deleted = false, purged = false, active = true, password = $2, update_time = ${utcNow(tx.dialect)}
      WHERE id = $1`,
    [userId, NO_PASSWORD],
  );
  await grant(tx, userId, admin, apiKey);
}

async function grant(tx: Sql, userId: UserId, admin: boolean, apiKey: string): Promise<void> {
  await tx.run(
    `INSERT INTO api_keys (create_time, user_id, key, deleted) VALUES (${utcNow(tx.dialect)}, $1, $2, false)`,
    [userId, apiKey],
  );
  if (admin) await tx.run('INSERT INTO lightcone_admin (user_id) VALUES ($1)', [userId]);
}

/** The public name of a user: the part of the address before the `@`, as in Galaxy, with a number if it is taken. */
async function freeUsername(tx: Sql, email: string): Promise<string> {
  const name = email.split('@', 1)[0]!.replace(/[^a-z0-9._-]/g, '-');
  for (let n = 1; ; n += 1) {
    const username = n === 1 ? name : `${name}-${n}`;
    if ((await tx.all('SELECT 1 FROM galaxy_user WHERE username = $1', [username])).length === 0)
      return username;
  }
}

function insertHistory(tx: Sql, userId: UserId | null, name: string): Promise<HistoryId> {
  const now = utcNow(tx.dialect);
  return insert(
    tx,
    `INSERT INTO history (create_time, update_time, user_id, name, hid_counter, deleted, purged, importing,
                          genome_build, importable, published, archived)
     VALUES (${now}, ${now}, $1, $2, 1, false, false, false, '?', false, false, false)`,
    [userId, name],
  );
}

async function insert(tx: Sql, text: string, params: readonly SqlValue[]): Promise<number> {
  const [row] = await tx.all<{ id: number }>(`${text} RETURNING id`, params);
  return row!.id;
}
