/**
 * Requests made from the OpenAPI document; each reply has a status, a type, headers and a body that the document declares, and
 * what a schema forbids is refused. Every operation is answered with each of its successes at least once.
 */
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DEMO, Installation } from '../support/installation.js';
import { EVERYTHING, type Rest, restOf } from '../support/rest.js';
import { anyJson, fuzz, inputs, type Random, report, TIMEOUT_MS } from './fuzz.js';

interface Schema {
  $ref?: string;
  type?: string;
  properties?: Record<string, Schema>;
  patternProperties?: Record<string, Schema>;
  required?: string[];
  items?: Schema;
  anyOf?: Schema[];
  enum?: unknown[];
  const?: unknown;
  pattern?: string;
  minimum?: number;
  maximum?: number;
  minLength?: number;
  minItems?: number;
  additionalProperties?: boolean;
}
interface Parameter {
  name: string;
  in: string;
  required?: boolean;
  schema: Schema;
}
interface Reply {
  $ref?: string;
  headers?: Record<string, object>;
  content?: Record<string, { schema: Schema }>;
}
interface Operation {
  parameters?: Parameter[];
  requestBody?: { content: Record<string, { schema: Schema; example?: object }> };
  responses: Record<string, Reply>;
}
interface Document {
  paths: Record<string, Record<string, Operation>>;
  components: { responses: Record<string, Reply>; schemas: Record<string, Schema> };
}
interface Case {
  method: string;
  path: string;
  operation: Operation;
  body: { schema: Schema; example?: object } | undefined;
}

let here: Installation;
let url: string;
let rest: Rest;
let document: Document;
let cases: Case[];
let callers: Record<string, string>[];
let users: string[];
const ajv = new Ajv2020({ strict: false });
const validators = new Map<string, ValidateFunction>();

beforeAll(async () => {
  here = Installation.embedded();
  ({ url } = await here.worker({
    ...EVERYTHING,
    sse: { api_rate_limit: 0, max_connections_per_user: 10_000 },
  }));
  rest = restOf(url);
  document = (await rest('GET', '/api/openapi.json')).body;
  cases = Object.entries(document.paths).flatMap(([path, operations]) =>
    Object.entries(operations).map(([method, operation]) => ({
      method: method.toUpperCase(),
      path,
      operation,
      body: operation.requestBody && Object.values(operation.requestBody.content)[0]!,
    })),
  );
  ajv.addSchema(withoutMore(document), 'replies');
  ajv.addSchema(document, 'requests');
  const { cookie } = await here.cookieOf(DEMO.anonymousSession);
  const keys = ['demo-alice', 'demo-alice', 'demo-bob', 'demo-admin', 'demo-admin', 'bootstrap-key', 'wrong'];
  users = [(await rest('GET', '/api/whoami', { as: 'alice' })).body.id, 'bob@example.org'];
  callers = [...keys.map((key) => ({ 'x-api-key': key })), { cookie }, {}];
});
afterAll(() => here.close());

/** Replies are held to exactly what is declared: a field that the document does not know is a finding, too. */
function withoutMore(value: unknown): object {
  if (Array.isArray(value)) return value.map(withoutMore);
  if (typeof value !== 'object' || value === null) return value as unknown as object;
  const copy = Object.fromEntries(
    Object.entries(value).map(([key, one]) => [key, key.startsWith('example') ? one : withoutMore(one)]),
  );
  const { type, properties } = copy as Schema;
  return type === 'object' && Object.keys(properties ?? {}).length > 0
    ? { ...copy, additionalProperties: false }
    : copy;
}

const pointer = (...parts: string[]): string =>
  parts.map((part) => encodeURIComponent(part.replace(/~/g, '~0').replace(/\//g, '~1'))).join('/');

function validator(document: 'replies' | 'requests', ...path: string[]): ValidateFunction {
  const ref = `${document}#/${pointer(...path)}`;
  const validate = validators.get(ref) ?? ajv.compile({ $ref: ref });
  validators.set(ref, validate);
  return validate;
}

// --- what is asked ---------------------------------------------------------------------------------------------------

const TEXTS = [
  'x',
  'RNA-seq',
  'https',
  '10.0.0.5',
  'a'.repeat(200),
  'é ✓',
  '2026-07-01T12:34:56',
  'info',
  'message',
  '',
];

/** A value that the schema takes. @param ids what exists, for strings that name something */
function valueFor(random: Random, schema: Schema, ids: readonly string[]): unknown {
  if (schema.const !== undefined) return schema.const;
  if (schema.enum) return random.pick(schema.enum);
  if (schema.anyOf) return valueFor(random, random.pick(schema.anyOf), ids);
  const { type, minimum = 0, maximum = 100 } = schema;
  if (type === 'null') return null;
  if (type === 'boolean') return random.chance(0.5);
  if (type === 'integer' || type === 'number')
    return minimum + random.below(Math.min(maximum - minimum, 50) + 1);
  if (type === 'array')
    return Array.from({ length: (schema.minItems ?? 0) + random.below(3) }, () =>
      valueFor(random, schema.items!, ids),
    );
  if (type === 'object') return objectOf(random, schema, ids);
  const fits = [...TEXTS, ...ids, ...ids].filter(
    (text) => new RegExp(schema.pattern ?? '', 'u').test(text) && text.length >= (schema.minLength ?? 0),
  );
  return random.pick(fits);
}

function objectOf(random: Random, schema: Schema, ids: readonly string[]): unknown {
  const { properties = {}, patternProperties = {}, required = [] } = schema;
  const chosen = Object.entries(properties).filter(([key]) => required.includes(key) || random.chance(0.5));
  const named = chosen.map(([key, one]) => [
    key,
    valueFor(random, one, { user_ids: users, marks }[key] ?? ids),
  ]);
  const others = Object.entries(patternProperties).map(([, one]) => ['message', valueFor(random, one, ids)]);
  return Object.fromEntries([...named, ...others]);
}

/** What is there now, by the place in a path that names it. */
interface Known {
  histories: string[];
  datasets: string[];
  collections: string[];
  notifications: string[];
  broadcasts: string[];
  entryPoints: string[];
  jobs: string[];
}
/** Of the delta of a history, and of a write to it. */
let positions: string[];
let marks: string[];

async function makeThings(): Promise<Known> {
  const id = async (method: string, path: string, as: 'alice' | 'admin', body: object) =>
    (await rest(method, path, { as, body })).body;
  const history = await id('POST', '/api/histories', 'alice', { name: 'made' });
  const contents = `/api/histories/${history.id}/contents`;
  const write = await rest('POST', contents, { as: 'alice', body: { name: 'reads' } });
  const dataset = write.body;
  marks = [write.headers.get('x-write-mark')!];
  const deltaSince = async (position: string): Promise<string> =>
    (await rest('GET', `${contents}?since=${position}`, { as: 'alice' })).body.since;
  const first = await deltaSince('');
  positions = ['', first, await deltaSince(first), 'x'];
  const collection = await id('POST', contents, 'alice', { type: 'dataset_collection', name: 'pairs' });
  const message = { subject: 's', message: 'm' };
  const told = await id('POST', '/api/notifications', 'admin', {
    recipients: { user_ids: [users[0]] },
    notification: { source: 'a', category: 'message', variant: 'info', content: message },
  });
  const broadcast = await id('POST', '/api/notifications/broadcast', 'admin', {
    source: 'a',
    variant: 'info',
    content: message,
  });
  const tool = await id('POST', '/api/entry_points', 'alice', { name: 'Jupyter' });
  await id('PUT', `/api/entry_points/${tool.id}`, 'admin', { host: '10.0.0.5', port: 31_001 });
  return {
    histories: [history.id],
    datasets: [dataset.id],
    collections: [collection.id],
    notifications: [told.notification.id],
    broadcasts: [broadcast.notification.id],
    entryPoints: [tool.id],
    jobs: [tool.job_id],
  };
}

function idsFor(path: string, name: string, known: Known, type: string): string[] {
  if (name === 'content') return type === 'datasets' ? known.datasets : known.collections;
  if (path.startsWith('/api/entry_points')) return known.entryPoints;
  if (path.startsWith('/api/notifications/broadcast')) return known.broadcasts;
  return path.startsWith('/api/notifications') ? known.notifications : known.histories;
}

/** What the document shows, what its schema takes, or anything. */
function bodyFor(
  random: Random,
  { schema, example }: NonNullable<Case['body']>,
  ids: readonly string[],
  anything: readonly string[],
): unknown {
  const kind = random.next();
  if (kind > 0.85) return anyJson(random);
  if (kind > 0.3) return valueFor(random, schema, anything);
  const shown = JSON.stringify(example, (key, value) => (key === 'user_ids' ? users.slice(0, 1) : value));
  return JSON.parse(shown.replaceAll('f2db41e1fa331b3e', ids[0]!));
}

interface Request {
  method: string;
  target: string;
  body: unknown;
  headers: Record<string, string>;
}

function requestOf(random: Random, { method, path, operation, body }: Case, known: Known): Request {
  const query = new URLSearchParams();
  const headers: Record<string, string> = { ...random.pick(callers) };
  const type = random.pick(['datasets', 'dataset_collections']);
  let target = path;
  const anything = Object.values(known).flat();
  for (const { name, in: place, required, schema } of operation.parameters ?? []) {
    if (place === 'path') {
      const ids = random.chance(0.9)
        ? idsFor(path, name, known, type)
        : [...anything, 'x', '0', 'f'.repeat(16)];
      target = target.replace(`{${name}}`, name === 'type' ? type : random.pick(ids));
    } else if (required || random.chance(0.3)) {
      const isPosition = name === 'since' && path.endsWith('/contents');
      const value = valueFor(random, schema, isPosition ? [...positions, ...anything] : anything);
      if (place === 'header' && typeof value === 'string' && /^[ -~]+$/.test(value)) headers[name] = value;
      if (place === 'query') for (const one of [value].flat()) query.append(name, String(one));
    }
  }
  if (random.chance(0.05)) headers.accept = 'application/vnd.galaxy.history.contents.stats+json';
  const sent = body && bodyFor(random, body, idsFor(path, 'id', known, type), anything);
  return { method, target: query.size > 0 ? `${target}?${query}` : target, body: sent, headers };
}

// --- how it is judged ------------------------------------------------------------------------------------------------

async function send({ method, target, body, headers }: Request): Promise<{ answer: Response; text: string }> {
  const abort = new AbortController();
  const answer = await fetch(url + target, {
    method,
    headers: { ...headers, ...(body !== undefined && { 'content-type': 'application/json' }) },
    body: body === undefined ? null : JSON.stringify(body),
    signal: abort.signal,
  });
  if (!answer.headers.get('content-type')?.startsWith('text/event-stream'))
    return { answer, text: await answer.text() };
  const { value } = await answer.body!.getReader().read();
  abort.abort();
  return { answer, text: new TextDecoder().decode(value) };
}

function judge({ method, path, operation }: Case, answer: Response, text: string): void {
  const status = String(answer.status);
  const declared = operation.responses[status];
  if (!declared) throw new Error(`${status} is not declared for ${method} ${path}: ${text}`);
  if (answer.status >= 500) throw new Error(`${status}: ${text}`);
  const name = declared.$ref?.split('/').at(-1);
  const { content = {}, headers = {} } = name ? document.components.responses[name]! : declared;
  for (const header of Object.keys(headers)) expect(answer.headers.get(header), header).not.toBeNull();
  const type = answer.headers.get('content-type')?.split(';')[0];
  if (Object.keys(content).length === 0) {
    if (text !== '') throw new Error(`${status} is to have no body, and has ${text}`);
    return;
  }
  if (!type || !(type in content))
    throw new Error(`${status} comes as ${type}, not as ${Object.keys(content)}`);
  const where = name
    ? ['components', 'responses', name]
    : ['paths', path, method.toLowerCase(), 'responses', status];
  const validate = validator('replies', ...where, 'content', type, 'schema');
  const value: unknown = type.endsWith('json') ? JSON.parse(text) : text;
  if (!validate(value))
    throw new Error(`${status} ${text}\nis not as declared: ${ajv.errorsText(validate.errors)}`);
}

describe('the OpenAPI document', () => {
  it('has an example for every body', () => {
    const bodies = cases.filter(({ body }) => body !== undefined);
    expect(bodies.length).toBeGreaterThan(15);
    expect(
      bodies.filter(({ body }) => !body!.example).map(({ method, path }) => `${method} ${path}`),
    ).toEqual([]);
  });

  it('says what every reply is, and what is refused', { timeout: TIMEOUT_MS }, async () => {
    const answered = new Set<string>();
    let known = await makeThings();
    let asked = 0;
    const tally = await fuzz(
      inputs(2_500),
      async (random, seen) => {
        asked += 1;
        if (asked % 150 === 0) known = await makeThings();
        // One after the other, so that none waits for its turn by chance.
        const chosen = cases[asked % cases.length]!;
        const request = requestOf(random, chosen, known);
        seen(request);
        const { answer, text } = await send(request);
        judge(chosen, answer, text);
        answered.add(`${chosen.method} ${chosen.path} ${answer.status}`);
        if (chosen.body && answer.status < 300) {
          const where = ['paths', chosen.path, chosen.method.toLowerCase(), 'requestBody', 'content'];
          const validate = validator('requests', ...where, 'application/json', 'schema');
          if (!validate(request.body)) throw new Error(`taken, but ${ajv.errorsText(validate.errors)}`);
        }
      },
      { atOnce: 4, salt: 21 },
    );
    const successes = cases.flatMap(({ method, path, operation }) =>
      Object.keys(operation.responses)
        .filter((status) => status.startsWith('2'))
        .map((status) => `${method} ${path} ${status}`),
    );
    expect(successes.length).toBeGreaterThan(50);
    expect(successes.filter((success) => !answered.has(success))).toEqual([]);
    report('requests from the OpenAPI document', tally, `${answered.size} kinds of replies`);
  });
});
