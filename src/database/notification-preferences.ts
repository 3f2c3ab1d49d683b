/** The notification preferences of a user: the `notifications` row of `user_preference` (contract, section 1.1). */
import type { UserId } from '../core/events.js';
import type { Sql } from './port.js';

export interface CategoryPreference {
  enabled: boolean;
  channels: { push: boolean; email: boolean };
}

/** By category; a missing category is enabled. */
export type NotificationPreferences = Readonly<Record<string, CategoryPreference>>;

export const PREFERENCE_NAME = 'notifications';

/** The stored preferences of the given users. Users without valid ones get everything. */
export async function loadPreferences(
  sql: Sql,
  userIds: readonly UserId[],
): Promise<Map<UserId, NotificationPreferences>> {
  const rows = await sql.all<{ user_id: number; value: string | null }>(
    `SELECT user_id, value FROM user_preference WHERE name = $1 AND ${sql.isOneOf('user_id', 2)} ORDER BY id`,
    [PREFERENCE_NAME, sql.list(userIds)],
  );
  const found = new Map<UserId, NotificationPreferences>();
  for (const { user_id, value } of rows) {
    const preferences = parsePreferences(value);
    if (preferences) found.set(user_id, preferences);
  }
  return found;
}

/** @returns undefined for invalid text; everything is then enabled */
function parsePreferences(value: string | null): NotificationPreferences | undefined {
  if (value === null) return undefined;
  try {
    const { preferences } = JSON.parse(value) as { preferences: unknown };
    if (!isObject(preferences) || !Object.values(preferences).every(isPreference)) return undefined;
    return preferences as NotificationPreferences;
  } catch {
    return undefined;
  }
}

interface Kind {
  category: string | null;
  variant: string | null;
}

/** Whether the user gets such notifications at all. Urgent ones ignore opt-outs. */
export const wants = (
  preferences: NotificationPreferences | undefined,
  { category, variant }: Kind,
): boolean => variant === 'urgent' || (preferenceOf(preferences, category)?.enabled ?? true);

/** Whether open tabs of the user receive them. */
export const wantsPush = (
  preferences: NotificationPreferences | undefined,
  { category, variant }: Kind,
): boolean => {
  const preference = preferenceOf(preferences, category);
  return variant === 'urgent' || preference === undefined || (preference.enabled && preference.channels.push);
};

/** Own properties only: a category named `constructor` is no choice of the user. */
const preferenceOf = (
  preferences: NotificationPreferences | undefined,
  category: string | null,
): CategoryPreference | undefined =>
  preferences && category !== null && Object.hasOwn(preferences, category)
    ? preferences[category]
    : undefined;

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function isPreference(value: unknown): value is CategoryPreference {
  if (!isObject(value) || typeof value.enabled !== 'boolean' || !isObject(value.channels)) return false;
  const { push, email = true } = value.channels;
  return typeof push === 'boolean' && typeof email === 'boolean';
}
