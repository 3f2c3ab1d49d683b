/**
 * `npm run bench`: every figure of docs/performance.md that needs no foreign program.
 *
 *     npm run bench -- [--only NAME,…] [--tabs 10000] [--seconds 4] [--runs 1] [--out FILE] [--compare FILE]
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { createDatabaseOn, startServices } from './bench-services.js';
import { unwantedTasks } from './bus-figures.js';
import { databaseFigures, formFigures } from './database-figures.js';
import { onPostgres, onSqlite } from './end-to-end.js';
import { monitorFigures } from './monitor-figures.js';
import { priceFigures } from './price-figures.js';
import { sourceFigures } from './source-figures.js';
import { embeddedStart, monitorSize } from './start-figures.js';
import { median, rounded } from './statistics.js';
import { connecting, fanOut, idle, latency, memory, slowReaders } from './stream-figures.js';
import { printTable, type Results } from './table.js';

const { values: flags } = parseArgs({
  options: {
    only: { type: 'string' },
    tabs: { type: 'string', default: '10000' },
    seconds: { type: 'string', default: '4' },
    runs: { type: 'string', default: '1' },
    out: { type: 'string' },
    compare: { type: 'string' },
  },
});
const tabs = Number(flags.tabs);
const seconds = Number(flags.seconds);
const services = await startServices();
const settings = { amqp: services.amqp, tabs, seconds };
const withDatabase = async () => ({ amqp: services.amqp, postgres: await createDatabaseOn(services) });

const MEASUREMENTS: Record<string, () => Promise<Record<string, number>>> = {
  connecting: () => connecting(settings),
  memory: () => memory(settings),
  fan_out: () => fanOut(settings),
  latency: () => latency(settings),
  slow_readers: () => slowReaders(settings),
  unwanted_tasks: () => unwantedTasks(settings),
  idle: async () => idle(await withDatabase(), tabs),
  end_to_end_postgresql: async () => onPostgres(await withDatabase(), 2 * seconds),
  end_to_end_busy: async () => onPostgres(await withDatabase(), 2 * seconds, 5_000),
  end_to_end_sqlite: () => onSqlite(2 * seconds),
  monitor: async () => monitorFigures(await withDatabase(), 2 * seconds),
  database: () => databaseFigures(services, seconds),
  trigger_forms: () => formFigures(services, seconds),
  price: () => priceFigures(services, seconds),
  sources: () => sourceFigures(services, seconds),
  start: embeddedStart,
  sse_monitor: async () => monitorSize(await withDatabase()),
};
const chosen = flags.only?.split(',') ?? Object.keys(MEASUREMENTS);
const unknown = chosen.filter((name) => !(name in MEASUREMENTS));
if (unknown.length > 0) {
  console.error(`unknown: ${unknown.join(', ')}; there are ${Object.keys(MEASUREMENTS).join(', ')}`);
  process.exit(2);
}

const runs: Record<string, Record<string, number>[]> = {};
for (let run = 0; run < Number(flags.runs); run += 1) {
  for (const name of chosen) {
    console.error(`run ${run + 1}: ${name}`);
    try {
      const figures = await MEASUREMENTS[name]!();
      runs[name] = [...(runs[name] ?? []), figures];
    } catch (error) {
      console.error(`${name} failed: ${(error as Error).message}`);
      process.exitCode = 1;
    }
  }
}
await services.stop();

const results: Results = {
  date: new Date().toISOString(),
  machine: `${cpus().length} x ${cpus()[0]?.model}, ${Math.round(totalmem() / 2 ** 30)} GiB, ${process.platform} ${release()}, Node ${process.versions.node}`,
  tabs,
  seconds,
  figures: Object.fromEntries(
    Object.entries(runs).map(([name, each]) => [
      name,
      Object.fromEntries(
        Object.keys(each[0]!).map((key) => [key, rounded(median(each.map((figures) => figures[key]!)), 4)]),
      ),
    ]),
  ),
};
const before =
  flags.compare === undefined ? undefined : (JSON.parse(readFileSync(flags.compare, 'utf8')) as Results);
printTable(results, before);
const file = resolve(
  flags.out ?? join('test/bench/results', `${results.date.replaceAll(/[:.]/g, '-')}.json`),
);
mkdirSync(dirname(file), { recursive: true });
writeFileSync(file, `${JSON.stringify({ ...results, runs }, undefined, 2)}\n`);
console.error(`written to ${file}`);
process.exit();
