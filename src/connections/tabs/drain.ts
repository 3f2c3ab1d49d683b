import type { Clock } from '../../lib/clock.js';
import { sleep } from '../../lib/lifecycle.js';
import type { TabRegistry } from './registry.js';
import type { Tab } from './tab.js';

/** A stop ends at most so many streams per second, so that their browsers do not come back all at once. */
const PER_SECOND = 1000;
const SLICE_MS = 50;
/** Shares of the time limit: streams end over the first, tabs that do not take their bytes are given until the second. */
const SPREAD = 0.7;
const GIVE_UP = 0.9;

/**
 * Ends all tabs in slices. One that waits for its socket or its catch-up is left until it is live again; what is still
 * there when the promise resolves has not made it within `timeoutMs`.
 */
export async function drainTabs(
  registry: TabRegistry,
  /** Streams that were ended, until their last bytes are out. */
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
