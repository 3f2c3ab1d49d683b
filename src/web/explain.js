/**
 * Reads what the installation tells of itself as an administrator would: along the way of an update, saying at each hop
 * whether it goes on from there. Pure, so that it is tested without a page.
 */

/** The leader speaks once a second: some missing words are no accident. */
const SILENT_MS = 5_000;

const good = (text) => ({ level: 'good', text });
const note = (text) => ({ level: 'note', text });
const bad = (text) => ({ level: 'bad', text });
const seconds = (ms) => `${(ms / 1000).toFixed(1)} s`;
const list = (names) =>
  names.length > 3 ? `${names.slice(0, 3).join(', ')} and ${names.length - 3} more` : names.join(', ');
const plural = (count, word) => `${count} ${word}${count === 1 ? '' : 's'}`;

/** @returns the hops of an update since the processes began, each `{ name, count, note }` */
export function hops({ processes }) {
  const total = (name) => processes.reduce((sum, { counters }) => sum + counters[name], 0);
  return [
    { name: 'changes seen', count: total('changes_seen'), note: 'by the monitor' },
    {
      name: 'tasks published',
      count: total('tasks_published'),
      note: `${total('tasks_skipped')} waited for the bus`,
    },
    {
      name: 'tasks received',
      count: total('tasks_received'),
      note: `by each worker; ${total('tasks_invalid')} not understood`,
    },
    { name: 'events queued', count: total('events_queued'), note: 'one for each stream concerned' },
    {
      name: 'events written',
      count: total('events_written'),
      note: `${total('events_merged')} merged, ${total('events_dropped')} dropped from full queues`,
    },
  ];
}

/**
 * What is wrong comes first, and then nothing is called good: with one hop broken, that another one works is no comfort.
 *
 * @param now as `/api/status/live` tells it
 * @returns sentences, each `{ level: 'good' | 'note' | 'bad', text }`
 */
export function findings(now) {
  const found = [
    ...unheard(now),
    ...problems(now),
    ...leaders(now),
    ...watermarks(now),
    ...room(now),
    ...alone(now),
    ...unusual(now),
  ].filter((finding) => finding !== undefined);
  const broken = found.filter(({ level }) => level === 'bad');
  return broken.length === 0 ? found : [...broken, ...found.filter(({ level }) => level === 'note')];
}

const heard = ({ processes }) => processes.filter(({ state }) => state === 'heard');
const workers = (now) => heard(now).filter(({ role }) => role === 'worker');

function unheard({ processes }) {
  return processes
    .filter(({ state }) => state === 'silent')
    .map(({ name, host, heard_ms: ms }) =>
      bad(
        `${name} on ${host} has not been heard for ${Math.round(ms / 1000)} s: it has died, is frozen, or does not reach the broker.`,
      ),
    );
}

/** The same problem of several processes is one line. */
function problems(now) {
  const names = new Map();
  for (const process of heard(now)) {
    for (const problem of process.problems) names.set(problem, [...(names.get(problem) ?? []), process.name]);
  }
  return [...names].map(([problem, of]) => bad(`${list(of)}: ${problem}.`));
}

function leaders(now) {
  const leading = heard(now).filter(({ leadingSeconds }) => leadingSeconds !== null);
  if (leading.length > 1) {
    return [
      note(
        `${list(leading.map(({ name }) => name))} are the monitor at the same time; that ends within seconds.`,
      ),
    ];
  }
  const [leader] = leading;
  if (leader === undefined) {
    const told = workers(now).find((it) => it.leader !== null && it.gauges.watermark_age_ms <= SILENT_MS);
    if (told !== undefined) return [good(`${told.leader} is the monitor; it does not report its own state.`)];
    return [
      bad(
        'No process is the monitor, so no change is published. Start sse-monitor, or wait for the election.',
      ),
    ];
  }
  const age = leader.gauges.cursor_age_ms;
  if (age !== null && age > SILENT_MS) {
    return [bad(`${leader.name} is the monitor, but has read no changes for ${seconds(age)}.`)];
  }
  return [good(`${leader.name} has been the monitor for ${duration(leader.leadingSeconds)}.`)];
}

function watermarks(now) {
  const all = workers(now);
  const aged = all.map((process) => ({ ...process, age: process.gauges.watermark_age_ms }));
  const late = aged.filter(({ age }) => age !== null && age > SILENT_MS);
  if (late.length > 0) {
    const oldest = Math.max(...late.map(({ age }) => age));
    return [
      bad(
        `${list(late.map(({ name }) => name))}: no tick of the monitor has arrived for ${seconds(oldest)}, so no updates either.`,
      ),
    ];
  }
  const starting = aged.filter(({ age }) => age === null);
  if (starting.length > 0)
    return [note(`${list(starting.map(({ name }) => name))} has not received a tick of the monitor yet.`)];
  if (all.length === 0) return [bad('No worker reports, so no stream can be open.')];
  const oldest = seconds(Math.max(...aged.map(({ age }) => age)));
  return [
    good(
      `Everything committed until ${oldest} ago has arrived at ${all.length === 1 ? 'the worker' : `all ${all.length} workers`}.`,
    ),
  ];
}

function room(now) {
  const full = workers(now).filter(({ gauges }) => gauges.limit > 0 && gauges.streams >= gauges.limit);
  if (full.length > 0) {
    return [
      bad(
        `${list(full.map(({ name }) => name))}: all places are taken, new streams are refused (max_connections).`,
      ),
    ];
  }
  const total = (name) => workers(now).reduce((sum, { gauges }) => sum + gauges[name], 0);
  const streams = total('streams');
  if (streams === 0) return [note('No stream is open, so events have no recipient.')];
  const waiting = total('waiting');
  return [
    good(`${plural(streams, 'stream')} of ${plural(total('users'), 'user')}.`),
    waiting > 0
      ? note(`${plural(waiting, 'event')} wait for ${plural(total('blocked'), 'slow reader')}.`)
      : undefined,
  ];
}

function alone(now) {
  if (workers(now).length !== 1) return [];
  return [note('There is only one worker: while it is stopped, no stream is open.')];
}

function unusual({ processes }) {
  const total = (name) => processes.reduce((sum, { counters }) => sum + counters[name], 0);
  const [invalid, dropped] = [total('tasks_invalid'), total('events_dropped')];
  return [
    invalid > 0
      ? note(`${plural(invalid, 'message')} on the bus could not be understood; the log names them.`)
      : undefined,
    dropped > 0
      ? note(`${plural(dropped, 'event')} did not fit into a queue; those streams were caught up.`)
      : undefined,
  ];
}

export function duration(seconds) {
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7_200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} days`;
}
