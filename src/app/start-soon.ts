import { LightconeError } from '../core/errors.js';
import type { Lifecycle } from '../core/lifecycle.js';

const PATIENCE_MS = 10_000;

/**
 * For commands that end: waits for a neighbour only so long. A service waits for ever.
 *
 * @throws LightconeError `code`, with what `part` says is wrong, when it has not started in time
 */
export async function startSoon(
  part: Lifecycle & { problem(): string | undefined },
  code: 'DATABASE_UNAVAILABLE' | 'BUS_UNAVAILABLE',
  patienceMs = PATIENCE_MS,
): Promise<void> {
  const abort = new AbortController();
  const timer = setTimeout(
    () => abort.abort(new LightconeError(code, part.problem() ?? 'no answer')),
    patienceMs,
  );
  try {
    await part.start(abort.signal);
  } finally {
    clearTimeout(timer);
  }
}
