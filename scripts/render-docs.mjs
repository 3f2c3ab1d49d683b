// The reference pages that are made from the tables in the code. Pure: tables in, Markdown out.

const cell = (text) => String(text).replaceAll('|', '\\|');
const row = (...cells) => `| ${cells.map(cell).join(' | ')} |`;
const table = (head, rows) => [row(...head), row(...head.map(() => '---')), ...rows].join('\n');
const page = (...parts) => `${parts.join('\n\n')}\n`;
const MADE = '<!-- Made by `npm run docs` from the tables in the code; do not edit. -->';

/** @param settings SETTINGS of src/config/schema.ts */
export function configurationPage(settings) {
  return page(
    MADE,
    '# Settings',
    `One file, Galaxy's own \`galaxy.yml\`: the keys of its section \`galaxy:\` that stand below, and a section \`sse:\` for what
is Lightcone's own. The file is named by \`--config FILE\` or by \`GALAXY_CONFIG_FILE\`. Without a file the embedded default
runs: SQLite under \`data/\`, the bus inside the one process, updates and notifications switched on.`,
    `The stronger source wins; from weak to strong:

1. the default,
2. \`GALAXY_CONFIG_<KEY>\` (keys of \`galaxy:\`),
3. the file,
4. \`GALAXY_CONFIG_OVERRIDE_<KEY>\` (keys of \`galaxy:\`) and \`LIGHTCONE_<KEY>\` (keys of \`sse:\`),
5. flags (keys of \`sse:\`): \`--queue-size 128\`.`,
    `A wrong value stops the start, and all mistakes are listed together, each with its place. In \`sse:\` (and
\`LIGHTCONE_…\`) an unknown key does so too. In \`galaxy:\` unknown keys are Galaxy's business; one that is nearly one of those
below is warned of. \`lightcone config\` prints what is in effect and where it comes from; \`lightcone config --check\` only
says whether it is valid.`,
    '## Section `galaxy:`',
    settingsTable(settings.galaxy),
    '## Section `sse:`',
    settingsTable(settings.sse),
    `## Examples

Standalone on PostgreSQL and RabbitMQ, two workers:

\`\`\`yaml
galaxy:
  enable_sse_updates: true
  enable_notification_system: true
  database_connection: postgresql://lightcone:secret@db.example.org/lightcone
  amqp_internal_connection: amqp://lightcone:secret@mq.example.org:5672/lightcone
  id_secret: a-secret-of-your-own
  admin_users: admin@example.org
sse:
  listen: unix:/run/lightcone/lightcone.sock
  workers: 2
\`\`\`

Beside a Galaxy, with that Galaxy's own file and nothing added but:

\`\`\`yaml
sse:
  attach_to_galaxy: true
\`\`\``,
  );
}

function settingsTable(settings) {
  return table(
    ['key', 'type', 'default', 'allowed', 'meaning'],
    Object.entries(settings).map(([key, setting]) =>
      row(`\`${key}\``, setting.type, defaultCell(setting), setting.must, setting.doc),
    ),
  );
}

function defaultCell(setting) {
  const unit = setting.unit ? ` ${setting.unit}` : '';
  const shown = (value) =>
    value === undefined ? 'unset' : Array.isArray(value) ? 'empty' : `\`${value}\`${unit}`;
  const parts = [shown(setting.default)];
  if ('embedded' in setting) parts.push(`${shown(setting.embedded)} without a file`);
  if ('attached' in setting) parts.push(`${shown(setting.attached)} where attached`);
  return parts.join('; ');
}

/** @param errors ERRORS of src/core/errors.ts */
export function errorsPage(errors) {
  return page(
    MADE,
    '# Errors',
    `Every error that an administrator or a client can see. Over HTTP the body is
\`{"err_msg": "…", "err_code": 403004}\`; in logs and on the command line the code's name stands with the message.`,
    table(
      ['code', 'HTTP status', '`err_code`', 'does trying again help?', 'meaning'],
      Object.entries(errors).map(([code, entry]) =>
        row(`\`${code}\``, entry.status, entry.errCode, entry.retryable ? 'yes' : 'no', entry.meaning),
      ),
    ),
  );
}

/**
 * The part of docs/security.md between its marks.
 *
 * @param limits LIMITS of src/core/limits.ts @param settings SETTINGS.sse
 */
export function withLimits(text, limits, settings) {
  const rows = [
    ...LIMITING_SETTINGS.map((key) => {
      const { doc } = settings[key];
      return row(`\`${key}\``, defaultCell(settings[key]), doc, 'setting');
    }),
    ...Object.values(limits).map(({ value, unit, what, by, beyond }) =>
      row(what, `${value.toLocaleString('en')} ${unit}`, `per ${by}; beyond it: ${beyond}`, 'fixed'),
    ),
  ];
  const begin = text.indexOf(BEGIN) + BEGIN.length;
  const made = table(['what', 'how much', 'meaning', 'kind'], rows);
  return `${text.slice(0, begin)}\n${made}\n\n${text.slice(text.indexOf(END))}`;
}

const BEGIN = '<!-- limits: made by `npm run docs` -->\n';
const END = '<!-- end of limits -->';
const LIMITING_SETTINGS = [
  'max_connections',
  'max_connections_per_user',
  'max_connections_per_address',
  'api_rate_limit',
  'trust_proxy',
  'write_timeout',
  'queue_size',
];

const prometheusNames = (name, type) => {
  const family = name.replaceAll('.', '_');
  const series = { counter: ['_total'], gauge: [''], timing: ['_sum', '_count'] }[type];
  return series.map((suffix) => `\`${family}${suffix}\``).join(', ');
};

const tagsCell = (tags = {}) =>
  Object.entries(tags)
    .map(([tag, values]) => `\`${tag}\`${values === 'text' ? '' : `: ${values.join(', ')}`}`)
    .join('; ');

/** @param metrics METRICS of src/telemetry/metrics.ts */
export function metricsPage(metrics) {
  return page(
    MADE,
    '# Metrics',
    `Sent by UDP to \`statsd_host\`; where none is set they cost nothing. On the wire \`statsd_prefix\` (default \`galaxy\`)
replaces the leading \`galaxy\`, and tags go in DogStatsD form, with \`statsd_influxdb\` in Telegraf form. With
\`attach_to_galaxy\` the form is byte for byte the one Galaxy writes: the prefix in front of the whole name, and no tags
unless \`statsd_influxdb\` is on.`,
    `For Prometheus, name addresses that only your own machines reach, and scrape them:

\`\`\`yaml
sse:
  metrics_listen: 127.0.0.1:9380          # serve: all of its workers in one answer
  monitor_metrics_listen: 127.0.0.1:9381  # sse-monitor
\`\`\`

\`/metrics\` there has every series with the label \`process\` (\`main.1\`, \`sse_monitor.<host>.<pid>\`), and \`/healthz\`,
\`/readyz\` and \`/wellz\` tell what is wrong, with the name of the process. A loopback address answers this machine only; on any
other everybody who reaches it is told all. \`/metrics\` of the public address is for administrators and for this machine, and
with several workers each answer is from one of them: look at its label, or better scrape \`metrics_listen\`. A counter begins at 0
with its process; replaced workers have new names.`,
    table(
      ['name in statsd', 'name in Prometheus', 'type', 'sent by', 'tags', 'meaning'],
      Object.entries(metrics).map(([name, { type, from, tags, meaning }]) =>
        row(`\`${name}\``, prometheusNames(name, type), type, from, tagsCell(tags), meaning),
      ),
    ),
    `## What to watch

- \`galaxy.sse.connections.dropped\` above 0 for long: a client or a proxy takes too slowly. Tabs are caught up
  afterwards, so this is a delay and not a loss.
- For each kind, \`galaxy.sse.events.queued\` is \`written\` + \`merged\` + \`dropped\` + what waits now. A difference that grows
  is what waits for clients that do not read.
- \`galaxy.sse.dispatch.skipped_no_qw\` above 0: the broker is away. The monitor keeps its cursor and publishes what was
  skipped when the broker is back.
- \`galaxy.sse.dispatch.latency_ms\` climbing: the broker or the way to it is the bottleneck.
- \`galaxy.sse.monitor.leader\` summed over all processes should be 1; \`galaxy.sse.monitor.cursor_age_ms\` and
  \`galaxy.sse.watermark_age_ms\` show how far monitor and workers are behind.
- \`galaxy.sse.delivery.latency_ms\` is what users feel: from the change to the write on the socket.`,
  );
}

/**
 * docs/stream.md with the table of events between its marks.
 * @param events EVENTS of src/events/registry.ts
 */
export function withEvents(text, { kinds }) {
  const rows = [
    ['`ready`', 'every stream, once', '`{}`', 'first'],
    ...kinds.map(({ event, audience, data, catchUp, repair }) => [
      `\`${event}\``,
      audience,
      data,
      repair === undefined ? 'catch-up only' : catchUp === 'never' ? 'live' : 'live and catch-up',
    ]),
  ];
  const made = table(
    ['event', 'sent to', 'data', 'when'],
    rows.map((cells) => row(...cells)),
  );
  return text.replace(
    /(<!-- events: [^\n]*-->\n)[\s\S]*?(<!-- end of events -->)/,
    (_, start, end) => `${start}\n${made}\n\n${end}`,
  );
}

/**
 * docs/client.md with the table of states between its marks.
 * @param client STATES, SIGNALS and next of packages/client/src/states.ts
 */
export function withStates(text, { STATES, SIGNALS, next }) {
  const states = Object.keys(STATES);
  const meanings = table(
    ['state', 'meaning'],
    states.map((state) => row(`\`${state}\``, STATES[state])),
  );
  const moves = table(
    ['when', ...states.map((state) => `\`${state}\``)],
    Object.keys(SIGNALS).map((signal) =>
      row(
        SIGNALS[signal],
        ...states.map((state) => (next(state, signal) === state ? '' : `\`${next(state, signal)}\``)),
      ),
    ),
  );
  return text.replace(
    /(<!-- states: [^\n]*-->\n)[\s\S]*?(<!-- end of states -->)/,
    (_, start, end) => `${start}\n${meanings}\n\nAn empty cell: it stays as it is.\n\n${moves}\n\n${end}`,
  );
}
