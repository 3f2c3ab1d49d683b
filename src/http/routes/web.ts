/**
 * The pages, the docs and the browser client: files that are read once and answered from memory.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { extname } from 'node:path';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import { LightconeError } from '../../core/errors.js';
import type { App } from '../app.js';

/** Always the output of the build, even if this module runs uncompiled (in tests). */
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
  'web/docs.css': 'text/css; charset=utf-8',
  'client/lightcone.js': SCRIPT,
  'client/worker.js': SCRIPT,
  'client/history.js': SCRIPT,
  'client/marks.js': SCRIPT,
};

/** The pictures of the docs, in a clone and in the package. */
const PICTURES = new URL('../docs/images/', BUILT);
const PICTURE_TYPES: Record<string, string> = { '.svg': 'image/svg+xml', '.png': 'image/png' };

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
 * @param options.demo whether `/` is the demo (which needs the demo's data) or the page of an installation
 * @param options.apiDocs whether there is an OpenAPI document to show
 */
export function registerWeb(app: App, { demo, apiDocs }: { demo: boolean; apiDocs: boolean }): void {
  const page = (name: string): (() => File) =>
    // The base makes relative links of the page work under any prefix, with or without a trailing slash.
    lazy(() =>
      fileOf(read(name).toString().replace('<base href="/">', `<base href="${app.prefix}/">`), PAGE_HEADERS),
    );

  const statusPage = page('web/status.html');
  const demoPage = page('web/index.html');
  const homePage = page('web/home.html');
  app.get('/', PUBLIC, (request, reply) => send(request, reply, demo ? demoPage() : homePage()));
  app.get('/status', PUBLIC, (request, reply) => send(request, reply, statusPage()));
  const apiPage = page('web/api-docs.html');
  if (apiDocs) app.get('/api/docs', PUBLIC, (request, reply) => send(request, reply, apiPage()));
  for (const [name, type] of Object.entries(ASSETS)) {
    const file = lazy(() => fileOf(read(name), { 'content-type': type }));
    app.get(`/assets/${name}`, PUBLIC, (request, reply) => send(request, reply, file()));
  }

  const docs = lazy(() => filesIn(new URL('docs/', BUILT), (name) => page(`docs/${name}`)));
  const pictures = lazy(() =>
    filesIn(PICTURES, (name) =>
      lazy(() => fileOf(read(name, PICTURES), { 'content-type': PICTURE_TYPES[extname(name)]! })),
    ),
  );
  app.get('/docs', PUBLIC, (request, reply) => send(request, reply, found(docs(), 'index.html')));
  app.get('/docs/:page', NAMED, (request, reply) =>
    send(request, reply, found(docs(), `${request.params.page}.html`)),
  );
  app.get('/docs/images/:page', NAMED, (request, reply) =>
    send(request, reply, found(pictures(), request.params.page)),
  );
}

const NAMED = { ...PUBLIC, schema: { params: Type.Object({ page: Type.String() }) } };

/** Looks files up by name; a request never contains a path. */
function filesIn(directory: URL, file: (name: string) => () => File): Map<string, () => File> {
  return new Map(readdirSync(directory).map((name) => [name, file(name)]));
}

function found(files: Map<string, () => File>, name: string): File {
  const file = files.get(name);
  if (file === undefined) throw new LightconeError('NOT_FOUND', `the docs have no ${name}`);
  return file();
}

function send(request: FastifyRequest, reply: FastifyReply, { bytes, etag, headers }: File): void {
  // `no-cache` means revalidate, which the etag makes cheap: after an upgrade no browser runs the old script.
  reply.headers({ ...headers, etag, 'cache-control': 'no-cache', 'x-content-type-options': 'nosniff' });
  if (request.headers['if-none-match'] === etag) reply.code(304).send();
  else reply.send(bytes);
}

const read = (name: string, directory = BUILT): Buffer => readFileSync(new URL(name, directory));

function fileOf(content: string | Buffer, headers: Record<string, string>): File {
  const bytes = Buffer.from(content);
  return { bytes, headers, etag: `"${createHash('sha256').update(bytes).digest('base64url').slice(0, 22)}"` };
}

/** Read at the first request: an installation that shows no page does not pay for them. */
function lazy<T>(make: () => T): () => T {
  let value: T | undefined;
  return () => {
    value ??= make();
    return value;
  };
}
