import { createHash } from 'node:crypto';
import type { Database } from '../../database/port.js';

/** Identifies an installation without revealing anything about it. */
export async function installationOf(db: Database): Promise<string> {
  return createHash('sha256')
    .update(await db.identity())
    .digest('hex')
    .slice(0, 16);
}
