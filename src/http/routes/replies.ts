/** Schemas of the replies about the server itself, for the OpenAPI document. */
import { Type } from 'typebox';
import { ID, orNull, TIME } from '../describe-route.js';

const text = Type.String();
const textOrNull = orNull(text);
const flag = Type.Boolean();
const number = Type.Number();
const problems = Type.Array(text, {
  description: 'One line each; hosts and accounts are named to administrators only',
});
const installation = orNull(
  Type.String({ description: 'The same in all processes on one database', examples: ['5c1e0a7e3b'] }),
);

export const live = Type.Object(
  { live: flag, problems },
  { title: 'Live', examples: [{ live: true, problems: [] }] },
);
export const ready = Type.Object(
  { ready: flag, well: flag, problems, installation },
  { title: 'Ready', examples: [{ ready: true, well: true, problems: [], installation: '5c1e0a7e3b' }] },
);
export const well = Type.Object(
  { well: flag, problems, installation },
  { title: 'Well', examples: [{ well: true, problems: [], installation: '5c1e0a7e3b' }] },
);

const versionFields = { version_major: text, version_minor: text };
export const version = Type.Object(
  { ...versionFields, extra: Type.Object({ lightcone_version: text }) },
  {
    title: 'Version',
    examples: [{ version_major: '26.1', version_minor: '0', extra: { lightcone_version: '0.1.0' } }],
  },
);
export const configuration = Type.Partial(
  Type.Object({
    ...versionFields,
    enable_sse_updates: flag,
    enable_notification_system: flag,
    interactivetools_enable: flag,
  }),
  {
    title: 'Configuration',
    description: 'All keys, or those in `keys`',
    examples: [{ version_major: '26.1', enable_sse_updates: true }],
  },
);
/** Sent as text. */
export const whoami = Type.Unsafe<string>(
  orNull(
    Type.Object(
      { model_class: Type.Literal('User'), id: ID, email: text, is_admin: flag },
      {
        title: 'User',
        examples: [
          { model_class: 'User', id: 'adb5f5c93f827949', email: 'alice@example.org', is_admin: false },
        ],
      },
    ),
  ),
);

const neighbour = { kind: text, display: text, problem: textOrNull };
const millis = orNull(number);
const FLOW = {
  changes_seen: number,
  tasks_published: number,
  tasks_skipped: number,
  tasks_received: number,
  tasks_invalid: number,
  events_queued: number,
  events_merged: number,
  events_written: number,
  gaps_repaired: number,
  resumes: number,
};
export const status = Type.Object(
  {
    server: Type.Object({
      name: text,
      hostname: text,
      pid: number,
      version: text,
      mode: Type.Enum(['standalone', 'attached']),
      started: TIME,
      uptime_seconds: number,
      draining: flag,
    }),
    problems: Type.Array(text),
    database: Type.Object({ ...neighbour, statements: number }),
    bus: Type.Object(neighbour),
    monitor: Type.Object({
      leads: flag,
      leader: textOrNull,
      source: textOrNull,
      cursor: orNull(TIME),
      cursor_age_ms: millis,
    }),
    watermark: Type.Object({ until: orNull(TIME), age_ms: millis }),
    connections: Type.Object({
      open: number,
      users: number,
      sessions: number,
      viewed_histories: number,
      limit: number,
    }),
    flow: Type.Object({ ...FLOW, events_dropped: Type.Record(text, number) }),
  },
  { title: 'Status', description: 'Of the worker that answers; times in ms where the name says so' },
);

export const metrics = Type.String({
  description: 'Prometheus text format 0.0.4',
  examples: ['galaxy_sse_events_written_total{process="main.web.1"} 42\n'],
});
