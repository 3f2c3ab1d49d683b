import { LightconeError } from '../core/errors.js';
import { withDeadline } from '../lib/lifecycle.js';

/**
 * Deadline for statements that every healthy database answers quickly; on a silent connection they would block
 * everything.
 */
const DEADLINE_MS = 2_500;

export const inTime = <T>(statement: Promise<T>): Promise<T> =>
  withDeadline(
    statement,
    DEADLINE_MS,
    () => new LightconeError('DATABASE_UNAVAILABLE', `no answer within ${DEADLINE_MS} ms`),
  );
