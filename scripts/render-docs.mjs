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
    `Lightcone reads one file, Galaxy's own \`galaxy.yml\`. It uses the keys of the section \`galaxy:\` that are listed below, and
a section \`sse:\` with Lightcone's own keys. \`--config FILE\` or \`GALAXY_CONFIG_FILE\` names the file. Without a file Lightcone
runs with the embedded defaults: SQLite under \`data/\`, an in-process bus, updates and notifications switched on.`,
    `A value can come from several sources. A later source of this list overrides an earlier one:

1. the default,
2. \`GALAXY_CONFIG_<KEY>\` (keys of \`galaxy:\`),
3. the file,
4. \`GALAXY_CONFIG_OVERRIDE_<KEY>\` (keys of \`galaxy:\`) and \`LIGHTCONE_<KEY>\` (keys of \`sse:\`),
5. flags (keys of \`sse:\`): \`--queue-size 128\`.`,
    `An invalid value prevents the start. Lightcone lists all invalid values together, each with its place. An unknown key in
\`sse:\` (or \`LIGHTCONE_…\`) prevents the start, too. Unknown keys in \`galaxy:\` belong to Galaxy; Lightcone warns of a key that
resembles one of those below. \`lightcone config\` prints the settings in effect and their sources. \`lightcone config --check\`
only validates them.`,
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

Beside a Galaxy, add this to the \`galaxy.yml\` of that Galaxy:

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
    `This page lists every error that an administrator or a client can see. The body of an HTTP error is
\`{"err_msg": "…", "err_code": 403004}\`. Logs give the name of the code with the message.`,
    table(
      ['code', 'HTTP status', '`err_code`', 'retryable', 'meaning'],
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
  const made = table(['limit', 'value', 'meaning', 'kind'], rows);
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
    `Lightcone sends metrics over UDP to \`statsd_host\`. \`statsd_prefix\` (default \`galaxy\`) replaces the leading \`galaxy\` of
each name. Tags have the DogStatsD format, or the Telegraf format with \`statsd_influxdb\`. With \`attach_to_galaxy\` every
packet equals Galaxy's byte for byte: the prefix precedes the whole name, and there are no tags unless \`statsd_influxdb\` is on.`,
    `For Prometheus, set addresses that only your own machines can reach, and scrape them:

\`\`\`yaml
sse:
  metrics_listen: 127.0.0.1:9380          # serve: all of its workers in one answer
  monitor_metrics_listen: 127.0.0.1:9381  # sse-monitor
\`\`\`

- \`/metrics\` there serves every series with the label \`process\` (\`main.1\`, \`sse_monitor.<host>.<pid>\`).
- \`/healthz\`, \`/readyz\` and \`/wellz\` there name each problem and the process that has it.
- These addresses ask for no credentials. Only this machine can reach a loopback address; everybody who reaches another
  address can read everything.
- \`/metrics\` of the public address answers administrators and this machine only. With several workers each answer is from one of
  them, which the label names. Scrape \`metrics_listen\` instead.
- A counter starts at 0 with its process. A replaced worker has a new name.`,
    table(
      ['name in statsd', 'name in Prometheus', 'type', 'sent by', 'tags', 'meaning'],
      Object.entries(metrics).map(([name, { type, from, tags, meaning }]) =>
        row(`\`${name}\``, prometheusNames(name, type), type, from, tagsCell(tags), meaning),
      ),
    ),
    `## What to watch

- \`galaxy.sse.connections.dropped\` stays above 0: clients or a proxy read too slowly (slow consumers). Their tabs are caught
  up afterwards, so events are late but not lost.
- \`galaxy.sse.events.queued\` equals \`written\` + \`merged\` + \`dropped\` + waiting, for each kind. A growing number of waiting
  events means that clients do not read.
- \`galaxy.sse.dispatch.skipped_no_qw\` rises: the broker is unavailable. The monitor keeps its cursor and publishes the skipped
  tasks when the broker is back.
- \`galaxy.sse.dispatch.latency_ms\` rises: the broker or the network to it is the bottleneck.
- \`galaxy.sse.monitor.leader\` has the sum 1 over all processes. \`galaxy.sse.monitor.cursor_age_ms\` and
  \`galaxy.sse.watermark_age_ms\` show how far the monitor and the workers are behind.
- \`galaxy.sse.delivery.latency_ms\` is the delay that users notice: from the change to the write to the socket.`,
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
    (_, start, end) =>
      `${start}\n${meanings}\n\nAn empty cell: the state does not change.\n\n${moves}\n\n${end}`,
  );
}
