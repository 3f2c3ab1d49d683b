import type { Clock } from '../../lib/clock.js';
import { sleep } from '../../lib/lifecycle.js';
import type { TabRegistry } from './registry.js';
import type { Tab } from './tab.js';

/** Maximum number of streams that a stop closes per second, so that browsers do not reconnect all at once. */
const PER_SECOND = 1000;
const SLICE_MS = 50;
/**
 * Shares of the time limit: streams are closed over the first share; tabs that do not take their bytes have time until
 * the second.
 */
const SPREAD = 0.7;
const GIVE_UP = 0.9;

/**
 * Closes all tabs in slices. A tab that waits for its socket or its catch-up is closed once it is live. Tabs that
 * remain when the promise resolves have not made it within `timeoutMs`.
 */
export async function drainTabs(
  registry: TabRegistry,
  /** Closed streams whose last bytes are not out yet. */
  ended: { readonly size: number },
  clock: Clock,
  timeoutMs: number,
  end: (tab: Tab) => void,
): Promise<void> {
  const begin = clock.monotonic();
  const total = registry.all.length;
  const spread = Math.min(timeoutMs * SPREAD, (total / PER_SECOND) * 1000);
  for (;;) {
    const elapsed = clock.monotonic() - begin;
    const share = spread === 0 ? 1 : Math.min(1, (elapsed + SLICE_MS) / spread);
    const quota = Math.ceil(total * share) - (total - registry.all.length);
    const live = registry.all.filter((tab) => tab.state === 'live');
    for (const tab of live.slice(0, Math.max(0, quota))) end(tab);
    if (registry.all.length + ended.size === 0 || elapsed >= timeoutMs * GIVE_UP) return;
    await sleep(SLICE_MS);
  }
}
