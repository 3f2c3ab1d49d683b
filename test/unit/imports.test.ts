import { describe, expect, it } from 'vitest';
import { type Import, importsOf, readSource, sourceFiles } from '../support/source-imports.js';

/** Rooms from the bottom up: a room imports from itself and from those below it. */
const RANKS: Readonly<Record<string, number>> = {
  'node-internals': 0,
  lib: 0,
  core: 1,
  config: 2,
  telemetry: 3,
  database: 4,
  events: 5,
  bus: 6,
  election: 7,
  monitor: 7,
  connections: 7,
  maintenance: 7,
  outbox: 8,
  http: 8,
  resources: 9,
  app: 10,
  cli: 11,
};
/** Files that stand in `src` itself are the executables. */
const roomOf = (file: string): string => (file.includes('/') ? file.slice(0, file.indexOf('/')) : 'cli');
const rankOf = (file: string): number => RANKS[roomOf(file)] ?? Number.NaN;

// Browser code is no part of the server: it runs elsewhere and imports nothing of it.
const files = sourceFiles().filter((file) => !/^(client|web)\//.test(file));
const imports = files.flatMap(importsOf);
const inside = imports.filter(({ to }) => to.endsWith('.ts'));
const arrow = ({ from, to }: Import) => `${from} -> ${to}`;

describe('the import arrow', () => {
  it('has every file in a room that the order knows', () => {
    expect(files.length).toBeGreaterThan(50);
    expect(files.filter((file) => Number.isNaN(rankOf(file)))).toEqual([]);
  });

  it('points to existing files', () => {
    const known = new Set(files);
    expect(inside.filter(({ to }) => !known.has(to)).map(arrow)).toEqual([]);
  });

  it('lib imports nothing, and core nothing but lib', () => {
    expect(
      imports
        .filter(
          ({ from, to }) =>
            (roomOf(from) === 'lib' && !to.startsWith('lib/')) ||
            (roomOf(from) === 'core' && !/^(lib|core)\//.test(to)),
        )
        .map(arrow),
    ).toEqual([]);
  });

  it('goes one way: lib, core, config, telemetry, database, events, bus, election and monitor and connections, outbox and http, resources, app, cli', () => {
    const wrong = inside.filter(
      ({ from, to }) => roomOf(from) !== roomOf(to) && !(rankOf(to) < rankOf(from)),
    );
    expect(wrong.map(arrow)).toEqual([]);
  });

  it('app alone names concrete classes of other rooms', () => {
    const wrong = inside.filter(
      ({ from, to, values }) =>
        roomOf(from) !== roomOf(to) &&
        roomOf(from) !== 'app' &&
        !['lib', 'core', 'telemetry', 'events'].includes(roomOf(to)) &&
        values.some((name) => new RegExp(`^export (abstract )?class ${name}\\b`, 'm').test(readSource(to))),
    );
    expect(wrong.map(arrow)).toEqual([]);
  });

  it('loads a driver only where the settings name it, and the compiler of schemas with the first request', () => {
    const reached = new Set<string>();
    const walk = (file: string): void => {
      if (reached.has(file)) return;
      reached.add(file);
      // What is loaded lazily, or for its types, names no values.
      for (const { from, to, values } of imports) if (from === file && values.length > 0) walk(to);
    };
    for (const root of ['cli/lightcone.ts', 'app/commands/serve.ts', 'app/processes/standalone-monitor.ts'])
      walk(root);
    expect([...reached]).toEqual(
      expect.arrayContaining(['fastify', 'typebox', 'app/wiring/infrastructure.ts', 'bus/in-process/bus.ts']),
    );
    const late = ['pg', 'amqplib', 'better-sqlite3', 'hot-shots', 'yaml', 'typebox/compile'];
    expect([...late, '@fastify/type-provider-typebox'].filter((name) => reached.has(name))).toEqual([]);
  });

  it('has no cycle', () => {
    const next = new Map(
      files.map((file) => [file, inside.filter(({ from }) => from === file).map(({ to }) => to)]),
    );
    const finished = new Set<string>();
    const cycles: string[] = [];
    const walk = (file: string, path: readonly string[]): void => {
      if (path.includes(file)) {
        cycles.push([...path.slice(path.indexOf(file)), file].join(' -> '));
      } else if (!finished.has(file)) {
        for (const to of next.get(file) ?? []) walk(to, [...path, file]);
        finished.add(file);
      }
    };
    for (const file of files) walk(file, []);
    expect(cycles).toEqual([]);
  });
});
