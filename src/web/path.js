/** The picture of the demo: how long a change took to each hop of its way, in real milliseconds. */
import { api } from './api.js';

/** An older click is not what made this change. */
const LATEST_CLICK_MS = 5_000;

/**
 * @param updateTime as the event has it
 * @param changedAt when this page asked for the change, if it did
 * @param mark highlights an element
 */
export async function showPath(updateTime, changedAt, mark) {
  const received = performance.now();
  const hops = await api(`api/demo/path?${new URLSearchParams({ update_time: updateTime })}`).catch(() => {});
  if (!hops) return;
  const answered = performance.now();
  // Where the clocks of browser and server differ by more than the answer took, the difference is taken out.
  const middle = performance.timeOrigin + (received + answered) / 2;
  const skew = Math.abs(hops.now - middle) > answered - received ? hops.now - middle : 0;
  const here = (moment) => performance.timeOrigin + moment + skew;
  const isOurs = changedAt !== undefined && received - changedAt < LATEST_CLICK_MS;
  const begun = isOurs ? here(changedAt) : hops.database;
  const tab = here(received);
  const reached = [hops.database, hops.monitor, hops.bus, hops.worker, tab];
  let before = begun;
  const items = document.getElementById('path').children;
  for (const [index, at] of reached.entries()) {
    // The worker looks at its clock after it has written: the tab may have the event before that.
    const took = at === undefined ? undefined : Math.max(0, Math.min(at, tab) - before);
    if (took !== undefined) before += took;
    const isCommit = index === 0 && !isOurs;
    items[index].querySelector('b').textContent =
      took === undefined ? 'not seen' : isCommit ? 'written' : `${took.toFixed(1)} ms`;
    mark(items[index]);
  }
  document.getElementById('path-said').textContent =
    `${(before - begun).toFixed(1)} ms from the ${isOurs ? 'click' : 'database'} to the tab. The lights are slower than that.`;
}
