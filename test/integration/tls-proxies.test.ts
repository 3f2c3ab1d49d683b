/** The TLS examples of docs/proxies.md, as they stand there: HTTP/2 from a browser's side, all streams on one connection. */
import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type ClientHttp2Session, connect } from 'node:http2';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { makeCertificates } from '../support/certificates.js';
import { eventually } from '../support/eventually.js';
import { freePort } from '../support/free-port.js';
import { DEMO, Installation } from '../support/installation.js';
import { locate } from '../support/programs.js';

const ROOT = resolve(import.meta.dirname, '../..');
const page = readFileSync(join(ROOT, 'docs/proxies.md'), 'utf8');
const block = (language: string, containing: string): string =>
  [...page.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, 'gms'))]
    .map(([, text]) => text!)
    .find((text) => text.includes(containing))!;

let here: Installation;
let home: string;
let port: number;
let worker: string;
let child: ChildProcess;
let session: ClientHttp2Session | undefined;

beforeEach(async () => {
  here = Installation.embedded();
  worker = new URL((await here.worker({ sse: { trust_proxy: ['loopback'] } })).url).host;
  home = mkdtempSync(join(tmpdir(), 'lightcone-tls-'));
  chmodSync(home, 0o755);
  port = await freePort();
  const { cert, key } = makeCertificates(home, 'localhost');
  cpSync(cert, join(home, 'site.crt'));
  cpSync(key, join(home, 'site.key'));
  writeFileSync(join(home, 'site.pem'), readFileSync(cert, 'utf8') + readFileSync(key, 'utf8'));
});
afterEach(async () => {
  session?.destroy();
  session = undefined;
  child.kill('SIGTERM');
  if (child.exitCode === null && child.signalCode === null)
    await new Promise((done) => child.once('exit', done));
  rmSync(home, { recursive: true, force: true });
  await here.close();
});

/** Starts the proxy, and opens one connection to it with HTTP/2. */
async function throughProxy(program: 'nginx' | 'haproxy', args: string[]): Promise<ClientHttp2Session> {
  let said = '';
  child = spawn(locate(program), args, { stdio: ['ignore', 'ignore', 'pipe'] });
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  const attempt = (): Promise<ClientHttp2Session | undefined> =>
    new Promise((done) => {
      const trial = connect(`https://localhost:${port}`, { ca: readFileSync(join(home, 'ca.crt')) });
      trial.once('connect', () => done(trial)).once('error', () => done(undefined));
    });
  await eventually(
    async () => {
      if (child.exitCode !== null) throw new Error(said);
      session = await attempt();
      return session !== undefined;
    },
    { within: 10_000, what: program },
  );
  return session!;
}

interface Answer {
  status: number;
  text: string;
}

/** Goes on growing while the stream is open. */
function ask(over: ClientHttp2Session, path: string): Answer {
  const answer: Answer = { status: 0, text: '' };
  const stream = over.request({ ':path': path });
  stream.on('response', (headers) => {
    answer.status = headers[':status']!;
  });
  stream.setEncoding('utf8').on('data', (text: string) => {
    answer.text += text;
  });
  stream.on('error', () => {});
  stream.end();
  return answer;
}

/** More streams than a browser has connections, and each is told. */
async function tellsTwelve(over: ClientHttp2Session): Promise<void> {
  expect(over.alpnProtocol).toBe('h2');
  const streams = Array.from({ length: 12 }, () => ask(over, '/api/events/stream?key=demo-alice'));
  await eventually(() => streams.every(({ text }) => text.includes('event: ready')), {
    what: 'twelve streams',
  });
  await here.change(DEMO.histories.alice);
  const id = here.encode(DEMO.histories.alice);
  await eventually(() => streams.every(({ text }) => text.includes(id)), {
    within: 2_000,
    what: 'twelve events',
  });
  const [hidden, healthy] = [ask(over, '/metrics'), ask(over, '/healthz')];
  await eventually(() => hidden.status > 0 && healthy.status > 0, { what: 'two answers' });
  expect([hidden.status, healthy.status]).toEqual([404, 200]);
}

describe('with TLS and HTTP/2', () => {
  it('nginx', async () => {
    mkdirSync(join(home, 'temp'));
    cpSync(join(ROOT, 'nginx'), join(home, 'lightcone'), { recursive: true });
    const lines = block('nginx', 'listen 443')
      .replace('listen 443', `listen 127.0.0.1:${port}`)
      .replaceAll('/etc/ssl/lightcone', home);
    const server = readFileSync(join(ROOT, 'nginx/server.conf'), 'utf8').replace('listen 80;', lines);
    const upstream = readFileSync(join(ROOT, 'nginx/upstream.conf'), 'utf8').replace(
      '127.0.0.1:8080',
      worker,
    );
    const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
      (kind) => `${kind}_temp_path ${home}/temp/${kind};`,
    );
    writeFileSync(
      join(home, 'nginx.conf'),
      `daemon off;\nworker_processes 1;\npid ${home}/nginx.pid;\nerror_log stderr;\nevents {}\nhttp {\naccess_log off;\n${temp.join('\n')}\n${upstream}\n${server}\n}\n`,
    );
    await tellsTwelve(await throughProxy('nginx', ['-p', home, '-c', join(home, 'nginx.conf')]));
  });

  it('HAProxy', async () => {
    const config = block('haproxy', 'alpn h2')
      .replace('bind :443', `bind 127.0.0.1:${port}`)
      .replaceAll('/etc/ssl/lightcone', home)
      .replace('127.0.0.1:8080', worker);
    writeFileSync(join(home, 'haproxy.cfg'), config);
    await tellsTwelve(await throughProxy('haproxy', ['-db', '-f', join(home, 'haproxy.cfg')]));
  });
});
