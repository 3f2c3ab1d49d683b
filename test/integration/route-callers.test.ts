/** Every route that the app has declares who may call it, and real requests find that it is so. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FastifyInstance, RouteOptions } from 'fastify';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Worker } from '../../src/app/processes/worker.js';
import { loadConfig } from '../../src/config/load.js';
import { ERRORS } from '../../src/core/errors.js';
import { SqliteDatabase } from '../../src/database/sqlite/database.js';
import type { CallerRule } from '../../src/http/auth/route-callers.js';
import { systemClock } from '../../src/lib/clock.js';
import { createLogger } from '../../src/telemetry/logger.js';

const logger = createLogger('silent');
/** Demo keys hold on this machine only, and `/metrics` is open there: everybody here comes from elsewhere. */
const KEYS = { alice: 'a'.repeat(32), admin: 'b'.repeat(32) };
type Who = 'nobody' | 'wrong key' | keyof typeof KEYS;

let folder: string;
let worker: Worker;
interface Route {
  method: string;
  url: string;
  rule: CallerRule | undefined;
  schema: Record<string, unknown>;
}
const routes: Route[] = [];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'lightcone-routes-'));
  const collect = (message: unknown): void => {
    const { fastify } = message as { fastify: FastifyInstance };
    fastify.addHook('onRoute', ({ method, url, config, schema }: RouteOptions) => {
      for (const name of [method].flat()) {
        routes.push({ method: name, url, rule: config?.caller, schema: (schema ?? {}) as Route['schema'] });
      }
    });
  };
  subscribe('fastify.initialization', collect);
  const config = loadConfig({
    env: {},
    flags: {},
    cwd: folder,
    settings: {
      galaxy: {
        database_connection: 'sqlite:///routes.sqlite',
        enable_notification_system: true,
        interactivetools_enable: true,
        interactivetools_map: join(folder, 'map.sqlite'),
        admin_users: ['admin@example.org'],
      },
      sse: { listen: '127.0.0.1:0', api_rate_limit: 0 },
    },
  });
  worker = await Worker.create({
    config,
    serverName: 'main',
    demo: true,
    supervised: false,
    runtime: { logger, clock: systemClock, random: Math.random },
  });
  unsubscribe('fastify.initialization', collect);
  await worker.start();
  const database = new SqliteDatabase({ file: join(folder, 'routes.sqlite'), logger });
  await database.start();
  for (const [name, key] of Object.entries(KEYS)) {
    await database.run('UPDATE api_keys SET key = $1 WHERE key = $2', [key, `demo-${name}`]);
  }
  await database.stop();
});
afterAll(async () => {
  await worker?.stop();
  rmSync(folder, { recursive: true });
});

/** The least that a schema lets pass. */
function sample(schema: Record<string, unknown> | undefined): unknown {
  if (schema === undefined) return undefined;
  const {
    examples,
    enum: values,
    type,
    properties = {},
    required = [],
  } = schema as {
    examples?: unknown[];
    enum?: unknown[];
    type?: string;
    properties?: Record<string, Record<string, unknown>>;
    required?: string[];
  };
  if (examples) return examples[0];
  if (values) return values[0];
  if (type === 'object') return Object.fromEntries(required.map((name) => [name, sample(properties[name])]));
  if (type === 'array') return [];
  return type === 'integer' ? 1 : 'x';
}

async function call({ method, url, schema }: Route, who: Who): Promise<{ status: number; code?: number }> {
  const params = sample(schema.params as Route['schema']) as Record<string, string> | undefined;
  const query = sample(schema.querystring as Route['schema']) as Record<string, string> | undefined;
  const path = url.replace(/:(\w+)/g, (_, name) => params?.[name] ?? 'x').replace('*', 'x');
  const body = sample(schema.body as Route['schema']);
  const key = who === 'wrong key' ? 'c'.repeat(32) : who === 'nobody' ? undefined : KEYS[who];
  const giveUp = new AbortController();
  const response = await fetch(`${worker.address}${path}?${new URLSearchParams(query)}`, {
    method,
    redirect: 'manual',
    signal: giveUp.signal,
    headers: {
      'x-forwarded-for': '203.0.113.9',
      ...(key && { 'x-api-key': key }),
      ...(body !== undefined && { 'content-type': 'application/json' }),
    },
    ...(body !== undefined && method !== 'HEAD' && { body: JSON.stringify(body) }),
  });
  const { status, headers } = response;
  const isJson = headers.get('content-type')?.includes('json') && method !== 'HEAD';
  const code = isJson ? ((await response.json()) as { err_code?: number } | null)?.err_code : undefined;
  // A stream has no end.
  giveUp.abort();
  return { status, ...(code !== undefined && { code }) };
}

/** What is refused, and how; HEAD has the status alone. */
const refusal = ({ method }: Route, code: keyof typeof ERRORS) => ({
  status: ERRORS[code].status,
  ...(method !== 'HEAD' && { code: ERRORS[code].errCode }),
});
const named = (route: Route, answer: object) => ({ route: `${route.method} ${route.url}`, ...answer });

const REFUSED: Record<CallerRule, Partial<Record<Who, keyof typeof ERRORS>>> = {
  public: {},
  anyone: { 'wrong key': 'CREDENTIALS_INVALID' },
  owner: { 'wrong key': 'CREDENTIALS_INVALID', nobody: 'LOGIN_REQUIRED' },
  user: { 'wrong key': 'CREDENTIALS_INVALID', nobody: 'LOGIN_REQUIRED' },
  admin: { 'wrong key': 'CREDENTIALS_INVALID', nobody: 'ADMIN_REQUIRED', alice: 'ADMIN_REQUIRED' },
  admin_or_local: { 'wrong key': 'CREDENTIALS_INVALID', nobody: 'ADMIN_REQUIRED', alice: 'ADMIN_REQUIRED' },
};

it('every route declares who may call it', () => {
  expect(routes.filter(({ rule }) => rule === undefined)).toEqual([]);
  expect(routes.length).toBeGreaterThan(100);
  expect([...new Set(routes.map(({ rule }) => rule))].sort()).toEqual(Object.keys(REFUSED).sort());
});

it('whom a route does not want is refused for that, and for nothing else', async () => {
  const found: object[] = [];
  const expected: object[] = [];
  for (const route of routes) {
    for (const [who, code] of Object.entries(REFUSED[route.rule!])) {
      found.push(named(route, { who, ...(await call(route, who as Who)) }));
      expected.push(named(route, { who, ...refusal(route, code) }));
    }
  }
  expect(found).toEqual(expected);
  expect(found.length).toBeGreaterThan(80);
}, 60_000);

it('whom a route wants is not refused for who it is', async () => {
  const codes = (['CREDENTIALS_INVALID', 'LOGIN_REQUIRED', 'ADMIN_REQUIRED'] as const).map(
    (code) => ERRORS[code].errCode as number,
  );
  // The password of the sample is one of the demo, which nobody may use from elsewhere.
  const some = routes.filter(({ method, url }) => method !== 'HEAD' && url !== '/api/login');
  for (const route of some) {
    const { rule } = route;
    // Ends the session of nobody, deletes nothing: ids of the samples belong to nobody.
    const who: Who =
      rule === 'admin' || rule === 'admin_or_local' ? 'admin' : rule === 'public' ? 'wrong key' : 'alice';
    const { code = 0 } = await call(route, who);
    expect(named(route, { isRefused: codes.includes(code) })).toEqual(named(route, { isRefused: false }));
  }
}, 60_000);
