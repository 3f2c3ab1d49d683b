/**
 * Puts figures into the documentation: docs/performance.json, the plot docs/images/performance.svg, and the tables of
 * docs/performance.md (between marks such as `<!-- beside -->`).
 *
 *     node test/bench/report.mjs [--beside FILE of side-by-side.py] [--alone FILE of npm run bench] [--database FILE]
 *
 * The last is a result of `npm run bench -- --only database,trigger_forms,sources,price`, or of some of them.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';

const DOCS = resolve(import.meta.dirname, '../../docs');
const JSON_FILE = `${DOCS}/performance.json`;
const { values: flags } = parseArgs({
  options: { beside: { type: 'string' }, alone: { type: 'string' }, database: { type: 'string' } },
});
const read = (file) => JSON.parse(readFileSync(file, 'utf8'));

const figures = existsSync(JSON_FILE) ? read(JSON_FILE) : {};
if (flags.beside) figures.beside = read(flags.beside);
if (flags.alone) {
  const { date, machine, tabs, seconds, figures: alone } = read(flags.alone);
  const { database, trigger_forms, sources, price, ...rest } = alone;
  Object.assign(figures, { date, machine, tabs, seconds, alone: rest });
  const ofDatabase = Object.entries({ database, trigger_forms, sources, price }).filter(([, found]) => found);
  figures.database = { ...figures.database, ...Object.fromEntries(ofDatabase) };
}
if (flags.database) figures.database = { ...figures.database, ...read(flags.database).figures };
writeFileSync(JSON_FILE, `${JSON.stringify(figures, undefined, 2)}\n`);

const SERVERS = ['limit', 'nchan', 'lightcone', 'lightcone-session', 'lightcone-1', 'lightcone-2'].filter(
  (name) => name in figures.beside,
);

/** Name of a figure as a person would write it. */
const title = (name) =>
  name
    .replace(/_(\d+)$/, ', $1 tabs')
    .replaceAll('_', ' ')
    .replace(/\bcpu us\b/, 'CPU µs')
    .replace(/\bkib\b/, 'KiB')
    .replace(/\bmib\b/, 'MiB');

function besideTable() {
  const names = [...new Set(SERVERS.flatMap((server) => Object.keys(figures.beside[server])))];
  const rows = names.map(
    (name) =>
      `| ${title(name)} | ${SERVERS.map((server) => shown(figures.beside[server][name])).join(' | ')} |`,
  );
  return [`| | ${SERVERS.join(' | ')} |`, `|---|${'---|'.repeat(SERVERS.length)}`, ...rows].join('\n');
}

function aloneTable() {
  const rows = Object.entries(figures.alone).flatMap(([measurement, values]) =>
    Object.entries(values).map(
      ([name, value], i) => `| ${i === 0 ? title(measurement) : ''} | ${title(name)} | ${shown(value)} |`,
    ),
  );
  return ['| | | |', '|---|---|---|', ...rows].join('\n');
}

/** Keys are "row/column", or longer. */
function grid(of, rows, columns, { digits = 3, corner = '' } = {}) {
  const cell = (row, column) => shown(of[`${row}/${column}`], digits);
  return [
    `| ${corner} | ${Object.values(columns).join(' | ')} |`,
    `|---|${'---|'.repeat(Object.keys(columns).length)}`,
    ...rows.map(
      ([row, name]) =>
        `| ${name} | ${Object.keys(columns)
          .map((column) => cell(row, column))
          .join(' | ')} |`,
    ),
  ].join('\n');
}

const named = (names) => names.map((name) => [name, title(name)]);
const partsOf = (of, n) => [...new Set(Object.keys(of).map((key) => key.split('/').slice(0, n).join('/')))];

function databaseTables() {
  const { database = {}, trigger_forms: forms = {}, sources = {}, price = {} } = figures.database ?? {};
  const isRate = (key) => key.split('/').length === 2;
  const writers = Object.fromEntries(Object.entries(database).filter(([key]) => !isRate(key)));
  const lone = Object.fromEntries(Object.entries(database).filter(([key]) => isRate(key)));
  const arms = Object.fromEntries(
    [...new Set(Object.keys(writers).map((key) => key.split('/')[1]))].flatMap((arm) => [
      [`${arm}/commits_per_second`, title(arm)],
      ...(arm === 'audit' ? [] : [[`${arm}/of_audit`, 'of audit']]),
    ]),
  );
  return {
    writers: grid(writers, named(partsOf(writers, 1)), arms, { digits: 2, corner: 'writers' }),
    lone: grid(
      lone,
      named(partsOf(lone, 1)),
      {
        statements_per_second: 'statements/s',
        database_cpu_share: 'CPU of its sessions',
        statement_ms_per_history_told: 'ms per history told',
        buffers_per_history_told: 'buffers per history told',
        lone_commit_to_task_p50_ms: 'lone change, commit to task p50 ms',
        lone_commit_to_task_p99_ms: 'p99 ms',
      },
      { corner: 'changes a second, besides' },
    ),
    forms: grid(
      forms,
      partsOf(forms, 2).map((key) => [key, title(key.split('/')[1])]),
      {
        commits_per_second: 'commits/s, 32 writers',
        of_audit: 'of audit',
      },
    ),
    sources: grid(sources, named(partsOf(sources, 1)), {
      commits_per_second: 'commits/s, 32 writers',
      of_nobody: 'of nobody',
      alone_p50_ms: 'lone change, commit to task p50 ms',
      alone_p99_ms: 'p99 ms',
      busy_p50_ms: 'beside the writers p50 ms',
      busy_p99_ms: 'p99 ms',
    }),
    price: grid(
      price,
      partsOf(price, 3).map((key) => [key, key.replaceAll('/', ' / ')]),
      {
        events_per_second: 'events/s',
        statements_per_second: 'statements/s',
        cpu_ms_per_second: 'CPU ms/s',
        rows_per_second: 'rows/s',
        buffers_per_second: 'buffers/s',
        statements_per_event: 'statements per event',
        rows_per_event: 'rows per event',
        buffers_per_event: 'buffers per event',
        cpu_us_per_event: 'CPU µs per event',
      },
      { corner: 'workers / tabs / changes a second' },
    ),
  };
}

const shown = (value, digits = 3) =>
  value === undefined || value === null
    ? ''
    : value >= 1000
      ? Math.round(value).toLocaleString('en')
      : String(Number(value.toPrecision(digits)));

const PANELS = [
  [
    'deliveries_per_second_10000',
    'deliveries a second, 10,000 tabs',
    ['limit', 'nchan', 'lightcone-session'],
  ],
  [
    'cpu_us_per_delivery_one_outstanding',
    'CPU µs per delivery, nothing to gather',
    ['limit', 'nchan', 'lightcone-session'],
  ],
  ['kib_per_tab', 'KiB per idle tab', ['limit', 'nchan', 'lightcone']],
  ['connections_per_second', 'connections a second', ['limit', 'nchan', 'lightcone-session']],
];
const LABELS = { limit: 'bare C', nchan: 'nchan', lightcone: 'Lightcone', 'lightcone-session': 'Lightcone' };

/** Readable on a light and on a dark page. */
const STYLE =
  'text{fill:#222}.paper{fill:#fff}.ours{fill:#2563a8}.other{fill:#b4b9c1}' +
  '@media(prefers-color-scheme:dark){text{fill:#ddd}.paper{fill:#0d1117}.ours{fill:#58a6ff}.other{fill:#59616b}}';

function plot() {
  const width = 360;
  const height = 120;
  const panels = PANELS.map(([name, heading, servers], p) => {
    const values = servers.map((server) => figures.beside[server]?.[name] ?? 0);
    const longest = Math.max(...values);
    const bars = servers.map((server, i) => {
      const y = 34 + i * 26;
      const length = Math.max(1, (values[i] / longest) * 190);
      const kind = server.startsWith('lightcone') ? 'ours' : 'other';
      return `<text x="72" y="${y + 13}" text-anchor="end">${LABELS[server]}</text>
    <rect x="80" y="${y}" width="${length.toFixed(1)}" height="18" class="${kind}"/>
    <text x="${(86 + length).toFixed(1)}" y="${y + 13}">${shown(values[i])}</text>`;
    });
    return `  <g transform="translate(${(p % 2) * width} ${Math.floor(p / 2) * height})">
    <text x="8" y="20" font-weight="bold">${heading}</text>
    ${bars.join('\n    ')}
  </g>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${2 * width} ${2 * height}" width="${2 * width}" height="${2 * height}" font-family="sans-serif" font-size="12">
  <title>Lightcone beside other servers</title>
  <style>${STYLE}</style>
  <rect width="100%" height="100%" class="paper"/>
${panels.join('\n')}
</svg>
`;
}

function replaceBetween(text, mark, content) {
  const begin = `<!-- ${mark} -->`;
  const end = `<!-- /${mark} -->`;
  const from = text.indexOf(begin);
  const to = text.indexOf(end);
  if (from < 0 || to < 0) throw new Error(`docs/performance.md has no ${begin} … ${end}`);
  return `${text.slice(0, from + begin.length)}\n\n${content}\n\n${text.slice(to)}`;
}

writeFileSync(`${DOCS}/images/performance.svg`, plot());
const file = `${DOCS}/performance.md`;
let text = readFileSync(file, 'utf8');
text = replaceBetween(text, 'beside', besideTable());
text = replaceBetween(text, 'alone', aloneTable());
for (const [mark, table] of Object.entries(databaseTables())) text = replaceBetween(text, mark, table);
writeFileSync(file, text);
