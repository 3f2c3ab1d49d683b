/**
 * The pairs: a value of amqp_internal_connection, what Galaxy's kombu and py-amqp do with it, and what we do, on a real
 * broker that is reached plainly and through TLS.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { type AddressInfo, connect as connectTcp } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer, type Server } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BrokerConnection } from '../../src/bus/amqp/connection.js';
import { parseAmqpUrl } from '../../src/config/urls.js';
import { type Certificates, makeCertificates } from '../support/certificates.js';
import { silent } from '../support/databases.js';
import { type Answer, askLibraries } from '../support/galaxy-libraries.js';
import { api } from '../support/rabbitmq-vhost.js';
import { sharedService } from '../support/services.js';

const PASSWORD = 'pä€ß@:/%?#';
const USER = 'gäst';
let folder: string;
let certificates: Certificates;
let port: number;
let managementUrl: string;
const servers: Server[] = [];

/** The broker behind TLS. */
async function tlsPort(): Promise<number> {
  const server = createServer(
    { cert: readFileSync(certificates.cert), key: readFileSync(certificates.key) },
    (socket) => {
      const broker = connectTcp(port, '127.0.0.1');
      for (const end of [socket, broker]) end.on('error', () => {});
      socket.pipe(broker).pipe(socket);
    },
  );
  servers.push(server);
  server.on('tlsClientError', () => {});
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

let secure: number;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'lightcone-parity-'));
  certificates = makeCertificates(folder, 'mq.example.org');
  const broker = await sharedService('rabbitmq');
  port = Number(new URL(broker.amqpUrl).port);
  managementUrl = broker.managementUrl;
  const user = encodeURIComponent(USER);
  const all = { configure: '.*', write: '.*', read: '.*' };
  await api(managementUrl, 'PUT', `/users/${user}`, { password: PASSWORD, tags: '' });
  await api(managementUrl, 'PUT', `/vhosts/${encodeURIComponent('/ünder')}`);
  await api(managementUrl, 'PUT', `/vhosts/parity`);
  for (const vhost of ['/', '/ünder', 'parity']) {
    for (const name of [user, 'guest'])
      await api(managementUrl, 'PUT', `/permissions/${encodeURIComponent(vhost)}/${name}`, all);
  }
  secure = await tlsPort();
}, 60_000);
afterAll(async () => {
  await api(managementUrl, 'DELETE', `/users/${encodeURIComponent(USER)}`);
  for (const vhost of ['/ünder', 'parity'])
    await api(managementUrl, 'DELETE', `/vhosts/${encodeURIComponent(vhost)}`);
  for (const server of servers) server.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Connects once. @returns as kombu's transport is called */
async function ours(text: string): Promise<Answer> {
  try {
    const { url } = parseAmqpUrl(text).address;
    const link = new BrokerConnection({
      url,
      name: 'parity',
      logger: silent,
      random: Math.random,
      setUp: async () => {},
      onUp() {},
      onDown() {},
    });
    const signal = AbortSignal.timeout(4_000);
    const started = link.start(signal);
    started.catch(() => {});
    const problems = new Set<string>();
    const brokers = url.split(';').length;
    const watch = setInterval(() => {
      if (link.problem !== undefined && !/connecting$/.test(link.problem)) problems.add(link.problem);
    }, 5);
    try {
      await Promise.race([
        started,
        new Promise((_, no) =>
          setInterval(() => problems.size === brokers && no(new Error([...problems].join())), 5).unref(),
        ),
      ]);
      return { ok: url.startsWith('amqps:') ? 'SSLTransport' : 'TCPTransport' };
    } finally {
      clearInterval(watch);
      await link.stop();
    }
  } catch (error) {
    return { error: (error as Error).message };
  }
}

const filled = (text: string): string =>
  text
    .replaceAll('{PORT}', String(port))
    .replaceAll('{P}', `127.0.0.1:${port}`)
    .replaceAll('{S}', `127.0.0.1:${secure}`)
    .replaceAll('{F}', folder);
const trusted = (): Record<string, string> => ({ SSL_CERT_FILE: certificates.ca });
const account = `${encodeURIComponent(USER)}:${encodeURIComponent(PASSWORD)}`;

const BROKERS: [what: string, url: string, env?: () => Record<string, string>][] = [
  ['plain', 'amqp://guest:guest@{P}//'],
  ['no account', 'amqp://{P}//'],
  ['no virtual host', 'amqp://guest:guest@{P}'],
  ['a virtual host that is an empty path', 'amqp://guest:guest@{P}/'],
  ['a virtual host', 'amqp://guest:guest@{P}/parity'],
  ['a virtual host that begins with a slash, escaped and not', 'amqp://guest:guest@{P}/%2F%C3%BCnder'],
  ['a virtual host with letters outside ASCII', 'amqp://guest:guest@{P}//ünder'],
  ['a virtual host that is not there', 'amqp://guest:guest@{P}/nowhere'],
  ['a password with every sign, escaped', `amqp://${account}@{P}//`],
  [
    'a password outside ASCII, as it is, with an @ and a % that is none',
    'amqp://gäst:pä€ß@:%2F%%3F%23@{P}//',
  ],
  ['a wrong password', 'amqp://gäst:wrong@{P}//'],
  ['pyamqp', 'pyamqp://guest:guest@{P}//'],
  ['a heartbeat', 'amqp://guest:guest@{P}//?heartbeat=10'],
  ['ssl=1 on a port that speaks TLS', 'amqp://guest:guest@{S}//?ssl=1', trusted],
  ['ssl=true, pyamqp', 'pyamqp://guest:guest@{S}/parity?ssl=true', trusted],
  ['ssl=0 is a wish for TLS, too', 'amqp://guest:guest@{S}//?ssl=0', trusted],
  ['ssl= without a value is none', 'amqp://guest:guest@{P}//?ssl='],
  ['a wish for TLS on a port that has none', 'amqp://guest:guest@{P}//?ssl=1', trusted],
  ['several, of which the first is not there', 'amqp://guest:guest@127.0.0.1:9//;amqp://guest:guest@{P}//'],
  ['several, of which the last is a name', 'amqp://guest:guest@127.0.0.9:{PORT}//;127.0.0.1'],
  ['several, none of them there', 'amqp://guest:guest@127.0.0.1:9//;amqp://guest:guest@127.0.0.9:9//'],
  ['amqps', 'amqps://guest:guest@{S}//', trusted],
  ['no wish for TLS on a port that has nothing else', 'amqp://guest:guest@{S}//'],
  ['an authority that nobody knows', 'amqp://guest:guest@{S}//?ssl=1'],
];

describe('an amqp_internal_connection does what it does in Galaxy', () => {
  let theirs: Answer[];
  beforeAll(async () => {
    theirs = await askLibraries(
      BROKERS.map(([, url, env]) => ({ ask: 'broker', value: filled(url), ...(env && { env: env() }) })),
    );
  }, 120_000);

  it.each(BROKERS.map(([what, url, env], at) => [what, url, env, at] as const))(
    '%s: %s',
    async (what, url, env, at) => {
      // Node reads its authorities once in a process, so where the system is to know ours, we name it.
      const known = env ? `${url.includes('?') ? '&' : '?'}ssl_ca_certs=${certificates.ca}` : '';
      const mine = await ours(filled(url) + known);
      const other = theirs[at]!;
      expect([what, mine.ok, mine.error]).toEqual([what, other.ok, other.error && expect.any(String)]);
    },
  );
});

describe('what a broker URL means, without a connection', () => {
  const URLS = [
    'amqp://', 'amqp://h', 'amqp://u@h', 'amqp://u:p@h', 'amqp://:p@h', 'amqp://u:@h/v', 'amqp://u:p@H.Example.ORG/v', 'amqp://h:5699',
    'amqp://h?ssl=1', 'amqps://h/v', 'amqps://h:5672/v', 'amqp://h/v#x', 'amqp://h/a/b', 'amqp://h/a%20b', 'amqp://u:a@b@c@h/v',
    'amqp://u:a:b:c@h/v', 'amqp://u%40x:p@h/v', 'pyamqp://h//', 'amqp://u:p+q@h/v+w', 'amqp://u:%zz@h/v', 'amqp://u:p@h/%2F%2F',
  ]; // biome-ignore format: a table
  let theirs: Answer[];
  beforeAll(async () => {
    theirs = await askLibraries(URLS.map((value) => ({ ask: 'broker_options', value })));
  });

  it.each(URLS.map((url, at) => [url, at] as const))('%s', (text, at) => {
    const {
      protocol,
      hostname,
      port: number,
      username,
      password,
      pathname,
    } = new URL(parseAmqpUrl(text).address.url);
    const parts = [
      hostname.toLowerCase(),
      Number(number),
      ...[username, password, pathname.slice(1)].map(decodeURIComponent),
      protocol === 'amqps:',
    ];
    expect({ ok: parts }).toEqual(theirs[at]);
  });
});
