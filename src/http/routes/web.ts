/**
 * The pages and the browser client: a handful of files, read once and answered from memory.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { App } from '../app.js';

/** Always what the build has made, also where this module itself runs uncompiled (in tests). */
const BUILT = new URL('../../../dist/', import.meta.url);

const SCRIPT = 'text/javascript; charset=utf-8';
const ASSETS: Record<string, string> = {
  'web/style.css': 'text/css; charset=utf-8',
  'web/uplot.css': 'text/css; charset=utf-8',
  'web/uplot.js': SCRIPT,
  'web/icon.svg': 'image/svg+xml',
  'web/api.js': SCRIPT,
  'web/demo.js': SCRIPT,
  'web/path.js': SCRIPT,
  'web/home.js': SCRIPT,
  'web/status.js': SCRIPT,
  'web/explain.js': SCRIPT,
  'web/events.js': SCRIPT,
  'web/plots.js': SCRIPT,
  'web/streams.js': SCRIPT,
  'web/tables.js': SCRIPT,
  'web/api-docs.css': 'text/css; charset=utf-8',
  'web/api-docs.js': SCRIPT,
  'web/openapi.js': SCRIPT,
  'client/lightcone.js': SCRIPT,
  'client/worker.js': SCRIPT,
  'client/history.js': SCRIPT,
  'client/marks.js': SCRIPT,
};

const PUBLIC = { config: { caller: 'public' } } as const;

/** No inline script, no foreign resource, no frame around it: the pages handle API keys. */
const PAGE_HEADERS = {
  'content-type': 'text/html; charset=utf-8',
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; worker-src 'self'; base-uri 'self'; form-action 'none'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
};

interface File {
  bytes: Buffer;
  etag: string;
  headers: Record<string, string>;
}

/**
 * @param options.demo whether `/` is the demo (it needs the demo's data) or the page of an installation
 * @param options.apiDocs whether there is an OpenAPI document to show
 */
export function registerWeb(app: App, { demo, apiDocs }: { demo: boolean; apiDocs: boolean }): void {
  const page = (name: string): (() => File) =>
    // The base makes the page's relative links right under any prefix, with or without a trailing slash.
    lazy(() =>
      fileOf(read(`web/${name}`).replace('<base href="/">', `<base href="${app.prefix}/">`), PAGE_HEADERS),
    );

  const statusPage = page('status.html');
  const demoPage = page('index.html');
  const homePage = page('home.html');
  app.get('/', PUBLIC, (request, reply) => send(request, reply, demo ? demoPage() : homePage()));
  app.get('/status', PUBLIC, (request, reply) => send(request, reply, statusPage()));
  const apiPage = page('api-docs.html');
  if (apiDocs) app.get('/api/docs', PUBLIC, (request, reply) => send(request, reply, apiPage()));
  for (const [name, type] of Object.entries(ASSETS)) {
    const file = lazy(() => fileOf(read(name), { 'content-type': type }));
    app.get(`/assets/${name}`, PUBLIC, (request, reply) => send(request, reply, file()));
  }
}

function send(request: FastifyRequest, reply: FastifyReply, { bytes, etag, headers }: File): void {
  // `no-cache` is "ask again", which the etag makes cheap: after an upgrade nobody runs the old script.
  reply.headers({ ...headers, etag, 'cache-control': 'no-cache', 'x-content-type-options': 'nosniff' });
  if (request.headers['if-none-match'] === etag) reply.code(304).send();
  else reply.send(bytes);
}

const read = (name: string): string => readFileSync(new URL(name, BUILT), 'utf8');

function fileOf(text: string, headers: Record<string, string>): File {
  const bytes = Buffer.from(text);
  return { bytes, headers, etag: `"${createHash('sha256').update(bytes).digest('base64url').slice(0, 22)}"` };
}

/** Read when first asked for: an installation that shows no page pays nothing for them. */
function lazy<T>(make: () => T): () => T {
  let value: T | undefined;
  return () => {
    value ??= make();
    return value;
  };
}
