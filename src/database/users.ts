/** Manages the users of a standalone Lightcone, except adding them. */
import { randomBytes } from 'node:crypto';
import { LightconeError } from '../core/errors.js';
import type { UserId } from '../core/events.js';
import { utcNow } from './dialect.js';
import { type Database, type Sql, toBoolean } from './port.js';

export interface ListedUser {
  email: string;
  isAdmin: boolean;
  /** Creation time of the valid key, in the database's format; the keys themselves are not returned. */
  keySince: string | undefined;
}

/** All users except removed ones, by e-mail. */
export async function listUsers(db: Sql): Promise<ListedUser[]> {
  const rows = await db.all<{ email: string; is_admin: unknown; key_since: string | null }>(
    `SELECT u.email, EXISTS (SELECT 1 FROM lightcone_admin a WHERE a.user_id = u.id) AS is_admin,
            (SELECT max(k.create_time) FROM api_keys k WHERE k.user_id = u.id AND NOT k.deleted) AS key_since
       FROM galaxy_user u WHERE u.deleted IS NULL OR u.deleted = false ORDER BY u.email`,
  );
  return rows.map(({ email, is_admin, key_since }) => ({
    email,
    isAdmin: toBoolean(is_admin),
    keySince: key_since ?? undefined,
  }));
}

/** @returns a new API key; all earlier ones become invalid */
export function renewKey(db: Database, email: string): Promise<string> {
  return db.transaction(async (tx) => {
    const userId = await userOf(tx, email);
    await endKeys(tx, userId);
    const key = randomBytes(16).toString('hex');
    await tx.run(
      `INSERT INTO api_keys (create_time, user_id, key, deleted) VALUES (${utcNow(tx.dialect)}, $1, $2, false)`,
      [userId, key],
    );
    return key;
  });
}

/** Revokes all API keys and sessions; the user and the user's data stay. */
export function revokeAccess(db: Database, email: string): Promise<void> {
  return db.transaction(async (tx) => endAccess(tx, await userOf(tx, email)));
}

/** As `revokeAccess`, and marks the user as deleted; rows stay, as in Galaxy. */
export function removeUser(db: Database, email: string): Promise<void> {
  return db.transaction(async (tx) => {
    const userId = await userOf(tx, email);
    await endAccess(tx, userId);
    await tx.run('DELETE FROM lightcone_admin WHERE user_id = $1', [userId]);
    await tx.run(`UPDATE galaxy_user SET deleted = true, update_time = ${utcNow(tx.dialect)} WHERE id = $1`, [
      userId,
    ]);
  });
}

async function userOf(tx: Sql, email: string): Promise<UserId> {
  const address = email.trim().toLowerCase();
  const [row] = await tx.all<{ id: number }>(
    'SELECT id FROM galaxy_user WHERE lower(email) = $1 AND (deleted IS NULL OR deleted = false)',
    [address],
  );
  if (!row)
    throw new LightconeError('NOT_FOUND', `there is no user ${address}; "lightcone user list" lists all`);
  return row.id;
}

const endKeys = (tx: Sql, userId: UserId) =>
  tx.run('UPDATE api_keys SET deleted = true WHERE user_id = $1 AND NOT deleted', [userId]);

async function endAccess(tx: Sql, userId: UserId): Promise<void> {
  await endKeys(tx, userId);
  await tx.run('UPDATE galaxy_session SET is_valid = false WHERE user_id = $1 AND is_valid = true', [userId]);
}
