/**
 * Reads `/api/status` as an administrator would: along the way of an update, saying at each hop whether it goes on from
 * there. Pure, so that it is tested without a page.
 */

/** Ticks come once a second: three missing ones are no accident. */
const SILENT_MS = 5_000;

/** @returns the hops in order, each `{ name, count, note }` */
export function hops({ flow, connections }) {
  const dropped = Object.values(flow.events_dropped).reduce((sum, count) => sum + count, 0);
  return [
    { name: 'changes seen', count: flow.changes_seen, note: 'by the monitor, if it runs here' },
    {
      name: 'tasks published',
      count: flow.tasks_published,
      note: `${flow.tasks_skipped} waited for the bus`,
    },
    { name: 'tasks received', count: flow.tasks_received, note: `${flow.tasks_invalid} not understood` },
    { name: 'events queued', count: flow.events_queued, note: `${connections.open} tabs open` },
    {
      name: 'events written',
      count: flow.events_written,
      note: `${flow.events_merged} merged, ${dropped} dropped`,
    },
  ];
}

/** @returns sentences, each `{ level: 'good' | 'note' | 'bad', text }`, in the order of the flow */
export function findings(status) {
  return [
    database(status),
    monitor(status),
    bus(status),
    published(status),
    received(status),
    tabs(status),
    written(status),
    ...dropped(status),
  ].filter((finding) => finding !== undefined);
}

const good = (text) => ({ level: 'good', text });
const note = (text) => ({ level: 'note', text });
const bad = (text) => ({ level: 'bad', text });
const seconds = (ms) => `${(ms / 1000).toFixed(1)} s`;

function database({ database: { kind, problem } }) {
  if (problem) return bad(`The database cannot be used: ${problem}. No change can be seen until it is back.`);
  return good(`The database answers (${kind}).`);
}

function monitor({ monitor: { leads, leader, source, cursor_age_ms: age } }) {
  if (!leads && leader === null) {
    return bad(
      'No monitor is known: an update stops before it is seen. Start sse-monitor, or wait for the election.',
    );
  }
  if (!leads) return good(`${leader} watches for changes; this worker would take over.`);
  if (age !== null && age > SILENT_MS) {
    return bad(`This worker watches for changes (${source}), but its cursor is ${seconds(age)} behind.`);
  }
  return good(`This worker watches for changes (${source}).`);
}

function bus({ bus: { kind, problem } }) {
  if (problem)
    return bad(`The bus cannot be used: ${problem}. Updates wait in the database until it is back.`);
  return good(`The bus is connected (${kind}).`);
}

function published({ flow: { tasks_skipped: skipped } }) {
  if (skipped === 0) return undefined;
  return note(
    `${skipped} times a task had to wait because the bus was away; it was published after the return.`,
  );
}

function received({ watermark: { until, age_ms: age }, flow }) {
  if (flow.tasks_invalid > 0) {
    return bad(
      `${flow.tasks_invalid} messages on the bus were no control tasks; the log names them. They change nothing.`,
    );
  }
  if (until === null) return note('No tick of a leader has arrived here yet.');
  if (age > SILENT_MS) {
    return bad(`The last tick of the leader is ${seconds(age)} old: updates do not reach this worker.`);
  }
  return good(`Everything published until ${seconds(age)} ago has arrived here.`);
}

function tabs({ connections: { open, users, limit } }) {
  if (open >= limit) return bad(`All ${limit} places are taken: new tabs are refused (max_connections).`);
  if (open === 0) return note('No tab is connected here: what arrives has nobody to go to.');
  return good(`${open} tabs of ${users} users are connected here.`);
}

function written({ flow, connections }) {
  const lost = Object.values(flow.events_dropped).reduce((sum, count) => sum + count, 0);
  const waiting = flow.events_queued - flow.events_written - flow.events_merged - lost;
  if (waiting <= 0) return good('Every event that was queued has been written.');
  return note(
    `${waiting} events are waiting in the queues of ${connections.open} tabs, or their tabs have gone.`,
  );
}

function dropped({ flow: { events_dropped: byReason } }) {
  return Object.entries(byReason)
    .filter(([, count]) => count > 0)
    .map(([reason, count]) =>
      note(`${count} events were dropped (${reason}); their tabs catch up from the database.`),
    );
}
