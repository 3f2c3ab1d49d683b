import { LightconeError } from '../../core/errors.js';
import type { Lifecycle } from '../../lib/lifecycle.js';

const PATIENCE_MS = 10_000;
const LOOK_EVERY_MS = 20;

/**
 * For one-shot commands: a service that refuses is not retried, one that does not answer is waited for briefly. A
 * long-running process waits without limit.
 *
 * @throws LightconeError `code`, with what `part` says is wrong, when it has not started in time
 */
export async function startSoon(
  part: Lifecycle & { problem(): string | undefined },
  code: 'DATABASE_UNAVAILABLE' | 'BUS_UNAVAILABLE',
  patienceMs = PATIENCE_MS,
): Promise<void> {
  const abort = new AbortController();
  const giveUp = (): void => abort.abort(new LightconeError(code, part.problem() ?? 'no answer'));
  const patience = setTimeout(giveUp, patienceMs);
  const started = part.start(abort.signal);
  // The problem before the first attempt starts with words of its own; afterwards it is the result of an attempt.
  const before = part.problem();
  const looks = setInterval(() => {
    if (part.problem() !== undefined && part.problem() !== before) giveUp();
  }, LOOK_EVERY_MS);
  try {
    await started;
  } finally {
    clearTimeout(patience);
    clearInterval(looks);
  }
}
