import { LightconeError } from '../core/errors.js';
import { withDeadline } from '../lib/lifecycle.js';

/** For statements that are quick on every database that answers: on a silent connection they would hold everything up. */
const DEADLINE_MS = 2_500;

export const inTime = <T>(statement: Promise<T>): Promise<T> =>
  withDeadline(
    statement,
    DEADLINE_MS,
    () => new LightconeError('DATABASE_UNAVAILABLE', `no answer within ${DEADLINE_MS} ms`),
  );
