/**
 * The pairs: a value of database_connection, what Galaxy's SQLAlchemy and psycopg2 do with it, and what we do, on the same
 * real servers. Where both connect, they are the same user on the same database, in the same way encrypted or not.
 */
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseDatabaseUrl } from '../../src/config/urls.js';
import { ConnectionPool } from '../../src/database/postgres/pool.js';
import { Servers } from '../../src/database/postgres/servers.js';
import { type Certificates, makeCertificates } from '../support/certificates.js';
import { silent } from '../support/databases.js';
import { type Answer, askLibraries } from '../support/galaxy-libraries.js';
import { type Postgres, startPostgres } from '../support/postgres.js';

const PASSWORD = 'p@:/%?#ß';
const ESCAPED = encodeURIComponent(PASSWORD);
let folder: string;
let certificates: Certificates;
let tls: Postgres;
let plain: Postgres;
let standby: Postgres;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'lightcone-parity-'));
  certificates = makeCertificates(folder, 'db.example.org');
  writeFileSync(
    join(folder, 'hba.conf'),
    [
      'local all all trust',
      'hostssl only_tls all all trust',
      'hostnossl only_plain all all trust',
      'host all asks all scram-sha-256',
      `host with_tls,read_only,lightcone,postgres,${userInfo().username} all all trust`,
      '',
    ].join('\n'),
  );
  readable(folder);
  const settings = [
    `hba_file=${folder}/hba.conf`,
    'ssl=on',
    `ssl_cert_file=${certificates.cert}`,
    `ssl_key_file=${certificates.key}`,
  ];
  [tls, plain] = await Promise.all([startPostgres({ settings }), startPostgres()]);
  for (const server of [tls, plain]) {
    const client = new pg.Client({
      host: server.socketFolder,
      port: server.port,
      user: 'lightcone',
      database: 'postgres',
    });
    await client.connect();
    for (const name of ['only_tls', 'only_plain', 'with_tls']) await client.query(`CREATE DATABASE ${name}`);
    const account = userInfo().username;
    await client.query(`CREATE ROLE asks LOGIN PASSWORD '${PASSWORD}'; CREATE ROLE "${account}" LOGIN`);
    await client.query(`CREATE DATABASE "${account}"`);
    await client.query('CREATE DATABASE read_only');
    if (server === tls) await client.query('ALTER DATABASE read_only SET default_transaction_read_only = on');
    else await client.query('CREATE DATABASE only_here');
    await client.end();
  }
  standby = await startPostgres({ standbyOf: plain });
}, 60_000);
afterAll(async () => {
  await Promise.all([tls?.stop(), plain?.stop(), standby?.stop()]);
  rmSync(folder, { recursive: true, force: true });
});

/** The server's user must read the files, and a key only it and root. */
function readable(path: string): void {
  chmodSync(path, 0o755);
  for (const file of readdirSync(path)) chmodSync(join(path, file), 0o644);
  if (process.getuid?.() === 0) {
    const { uid, gid } = statSync('/var/lib/postgresql');
    chownSync(certificates.key, uid, gid);
  }
  chmodSync(certificates.key, 0o600);
}

const WHERE = `SELECT current_user, current_database(), (SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()),
  current_setting('port')`;

async function ours(url: string, env: Record<string, string>): Promise<Answer> {
  try {
    const { address } = parseDatabaseUrl(url, '/', { HOME: '/nonexistent', ...env });
    if (address.kind !== 'postgresql') throw new Error('not PostgreSQL');
    const pool = new ConnectionPool({
      servers: new Servers(address.url),
      display: address.display,
      size: 2,
      applicationName: 'lightcone',
      logger: silent,
    });
    try {
      const client = await pool.connect();
      const { rows } = await client.query({ text: WHERE, rowMode: 'array' });
      pool.release(client);
      return { ok: rows[0] };
    } finally {
      await pool.end();
    }
  } catch (error) {
    return { error: (error as Error).message };
  }
}

/** `T`, `P` and `S` stand for host and port of the server with TLS, without, and of a standby, `F` for the folder. */
const filled = (text: string): string =>
  text
    .replaceAll('{T}', `127.0.0.1:${tls.port}`)
    .replaceAll('{P}', `127.0.0.1:${plain.port}`)
    .replaceAll('{S}', `127.0.0.1:${standby.port}`)
    .replaceAll('{TPORT}', String(tls.port))
    .replaceAll('{PPORT}', String(plain.port))
    .replaceAll('{SPORT}', String(standby.port))
    .replaceAll('{SOCKETS}', encodeURIComponent(tls.socketFolder))
    .replaceAll('{F}', folder);

const DATABASES: [what: string, url: string, env?: Record<string, string>][] = [
  ['a server with TLS, nothing said', 'postgresql://lightcone@{T}/with_tls'],
  ['a server without TLS, nothing said', 'postgresql://lightcone@{P}/with_tls'],
  ['a server that takes TLS only', 'postgresql://lightcone@{T}/only_tls'],
  ['a server that takes TLS only, and we must not', 'postgresql://lightcone@{T}/only_tls?sslmode=disable'],
  ['a server that takes TLS only, and we may', 'postgresql://lightcone@{T}/only_tls?sslmode=allow'],
  ['a server that has TLS and takes plain only', 'postgresql://lightcone@{T}/only_plain'],
  [
    'a server that has TLS and takes plain only, allow',
    'postgresql://lightcone@{T}/only_plain?sslmode=allow',
  ],
  [
    'a server that has TLS and takes plain only, and we insist',
    'postgresql://lightcone@{T}/only_plain?sslmode=require',
  ],
  ['a server without TLS, and we insist', 'postgresql://lightcone@{P}/with_tls?sslmode=require'],
  ['a server without TLS, prefer', 'postgresql://lightcone@{P}/with_tls?sslmode=prefer'],
  ['require takes any certificate', 'postgresql://lightcone@{T}/with_tls?sslmode=require'],
  [
    'require with an authority checks it',
    'postgresql://lightcone@{T}/with_tls?sslmode=require&sslrootcert={F}/ca.crt',
  ],
  [
    'require with the wrong authority',
    'postgresql://lightcone@{T}/with_tls?sslmode=require&sslrootcert=/etc/ssl/certs/ca-certificates.crt',
  ],
  ['verify-ca', 'postgresql://lightcone@{T}/with_tls?sslmode=verify-ca&sslrootcert={F}/ca.crt'],
  [
    'verify-ca with the wrong authority',
    'postgresql://lightcone@{T}/with_tls?sslmode=verify-ca&sslrootcert=/etc/ssl/certs/ca-certificates.crt',
  ],
  ['verify-ca without an authority', 'postgresql://lightcone@{T}/with_tls?sslmode=verify-ca'],
  [
    'verify-full under another name',
    'postgresql://lightcone@{T}/with_tls?sslmode=verify-full&sslrootcert={F}/ca.crt',
  ],
  [
    'verify-full under its name',
    'postgresql://lightcone@db.example.org:{TPORT}/with_tls?hostaddr=127.0.0.1&sslmode=verify-full&sslrootcert={F}/ca.crt',
  ],
  [
    'a file that is not there',
    'postgresql://lightcone@{T}/with_tls?sslmode=verify-ca&sslrootcert={F}/none.crt',
  ],
  ['an unknown mode', 'postgresql://lightcone@{T}/with_tls?sslmode=maybe'],
  ['PGSSLMODE', 'postgresql://lightcone@{P}/with_tls', { PGSSLMODE: 'require' }],
  ['PGSSLROOTCERT', 'postgresql://lightcone@{T}/with_tls?sslmode=verify-ca', { PGSSLROOTCERT: '{F}/ca.crt' }],
  ['a unix socket by host=', 'postgresql://lightcone@/with_tls?host={SOCKETS}&port={TPORT}'],
  [
    'a unix socket in the place of the host',
    'postgresql://lightcone@/with_tls',
    { PGHOST: '{SOCKETFOLDER}', PGPORT: '{TPORT}' },
  ],
  [
    'a unix socket has no TLS, whatever is asked for',
    'postgresql://lightcone@/with_tls?host={SOCKETS}&port={TPORT}&sslmode=require',
  ],
  ['no user: the name of the account, whatever USER says', 'postgresql://{T}/with_tls', { USER: 'nobody' }],
  ['no user: PGUSER', 'postgresql://{T}/with_tls', { PGUSER: 'lightcone' }],
  ['no database: the name of the user', 'postgresql://{T}'],
  ['no database: PGDATABASE', 'postgresql://lightcone@{T}', { PGDATABASE: 'with_tls' }],
  [
    'nothing but variables',
    'postgresql://',
    { PGHOST: '127.0.0.1', PGPORT: '{TPORT}', PGDATABASE: 'with_tls', PGUSER: 'lightcone' },
  ],
  ['the driver in the scheme', 'postgresql+psycopg2://lightcone@{T}/with_tls'],
  ['a password with every sign, escaped', `postgresql://asks:${ESCAPED}@{T}/with_tls`],
  ['a password with signs that need no escape', 'postgresql://asks:p%40:/%25?#ß@{T}/with_tls'],
  ['a password with a % that is none', 'postgresql://asks:p%40:/%?#ß@{T}/with_tls'],
  ['a wrong password', 'postgresql://asks:wrong@{T}/with_tls'],
  ['no password where one is asked for', 'postgresql://asks@{T}/with_tls'],
  ['PGPASSWORD', 'postgresql://asks@{T}/with_tls', { PGPASSWORD: PASSWORD }],
  ['PGPASSFILE', 'postgresql://asks@{T}/with_tls', { PGPASSFILE: '{F}/pass/file' }],
  ['~/.pgpass', 'postgresql://asks@{T}/with_tls', { HOME: '{F}/home' }],
  ['passfile=', 'postgresql://asks@{T}/with_tls?passfile={F}/pass/file'],
  ['a password file that others may read', 'postgresql://asks@{T}/with_tls?passfile={F}/pass/open'],
  ['a service', 'postgresql:///?service=galaxy', { PGSERVICEFILE: '{F}/pass/services' }],
  [
    'PGSERVICE, where the URL wins',
    'postgresql:///only_tls',
    { PGSERVICEFILE: '{F}/pass/services', PGSERVICE: 'galaxy' },
  ],
  ['a service that is not there', 'postgresql:///?service=other', { PGSERVICEFILE: '{F}/pass/services' }],
  ['options', 'postgresql://lightcone@{T}/with_tls?options=-c%20default_transaction_read_only%3Don'],
  ['what stands behind the question mark wins', 'postgresql://nobody@{T}/with_tls?user=lightcone'],
  [
    'a connect_timeout and an application_name',
    'postgresql://lightcone@{T}/with_tls?connect_timeout=9&application_name=galaxy',
  ],
  ['two hosts', 'postgresql://lightcone@127.0.0.1,127.0.0.1/with_tls?port={TPORT},{PPORT}'],
  ['two hosts, the first not there', 'postgresql://lightcone@127.0.0.1,127.0.0.1/with_tls?port=1,{TPORT}'],
  ['two hosts, none there', 'postgresql://lightcone@127.0.0.1,127.0.0.1/with_tls?port=1,2'],
  ['two hosts, one port', 'postgresql://lightcone@127.0.0.2,127.0.0.1:{TPORT}/with_tls'],
  [
    'two hosts behind the question mark',
    'postgresql://lightcone@/with_tls?host=127.0.0.2,127.0.0.1&port={TPORT}',
  ],
  ['two hosts, three ports', 'postgresql://lightcone@127.0.0.1,127.0.0.1/with_tls?port=1,2,{TPORT}'],
  ['two hosts, ports in the place of one', 'postgresql://lightcone@127.0.0.1:1,127.0.0.1:{TPORT}/with_tls'],
  ['two hosts as SQLAlchemy writes them', 'postgresql://lightcone@/with_tls?host=127.0.0.1:1&host={T}'],
  [
    'two hosts as SQLAlchemy writes them, and a port',
    'postgresql://lightcone@/with_tls?host=127.0.0.1:1&host={T}&port={TPORT}',
  ],
  ['two hosts, the first a socket', 'postgresql://lightcone@/with_tls?host=/nowhere,127.0.0.1&port={TPORT}'],
  ['two hosts, the first left empty', 'postgresql://lightcone@/with_tls?host=,127.0.0.1&port=1,{TPORT}'],
  [
    'two addresses for two names',
    'postgresql://lightcone@a.example,b.example:{TPORT}/with_tls?hostaddr=127.0.0.2,127.0.0.1',
  ],
  [
    'two addresses for one name',
    'postgresql://lightcone@a.example:{TPORT}/with_tls?hostaddr=127.0.0.2,127.0.0.1',
  ],
  [
    'two hosts, certificate of the second',
    'postgresql://lightcone@a.example,db.example.org:{TPORT}/with_tls?hostaddr=127.0.0.2,127.0.0.1&sslmode=verify-full&sslrootcert={F}/ca.crt',
  ],
  [
    'PGHOST and PGPORT with two',
    'postgresql://lightcone@/with_tls',
    { PGHOST: '127.0.0.1,127.0.0.1', PGPORT: '1,{TPORT}' },
  ],
  [
    'two hosts, password by host',
    'postgresql://asks@127.0.0.2,127.0.0.1:{TPORT}/with_tls?passfile={F}/pass/file',
  ],
  [
    'the first refuses the password',
    'postgresql://asks:wrong@127.0.0.1,127.0.0.1/with_tls?port={TPORT},{PPORT}',
  ],
  [
    'the first lacks the database',
    'postgresql://lightcone@127.0.0.1,127.0.0.1/only_here?port={TPORT},{PPORT}',
  ],
  ['any, the first a standby', 'postgresql://lightcone@127.0.0.1,127.0.0.1/with_tls?port={SPORT},{PPORT}'],
  ...['any', 'read-write', 'primary', 'most'].flatMap((wish): [string, string][] => [
    [
      `${wish}, the first a standby`,
      `postgresql://lightcone@127.0.0.1,127.0.0.1/with_tls?port={SPORT},{PPORT}&target_session_attrs=${wish}`,
    ],
    [`${wish}, only a standby`, `postgresql://lightcone@{S}/with_tls?target_session_attrs=${wish}`],
    [
      `${wish}, the first read-only by default`,
      `postgresql://lightcone@127.0.0.1,127.0.0.1/read_only?port={TPORT},{PPORT}&target_session_attrs=${wish}`,
    ],
  ]),
  [
    'PGTARGETSESSIONATTRS',
    'postgresql://lightcone@127.0.0.1,127.0.0.1/with_tls?port={SPORT},{PPORT}',
    { PGTARGETSESSIONATTRS: 'primary' },
  ],
];

describe('a database_connection does what it does in Galaxy', () => {
  let theirs: Answer[];
  const fill = (env: Record<string, string> = {}): Record<string, string> =>
    Object.fromEntries(
      Object.entries(env).map(([name, value]) => [
        name,
        filled(value).replace('{SOCKETFOLDER}', tls.socketFolder),
      ]),
    );
  beforeAll(async () => {
    mkdirSync(join(folder, 'pass'));
    mkdirSync(join(folder, 'home'));
    const escaped = PASSWORD.replace(/[:\\]/g, '\\$&');
    const line = `# a comment\nother:*:*:*:wrong\n127.0.0.1:${tls.port}:with_tls:asks:${escaped}\n`;
    for (const file of ['pass/file', 'home/.pgpass'])
      writeFileSync(join(folder, file), line, { mode: 0o600 });
    writeFileSync(join(folder, 'pass/open'), line, { mode: 0o644 });
    writeFileSync(
      join(folder, 'pass/services'),
      `[other-one]\nhost=nowhere\n\n[galaxy]\n# ours\nhost=127.0.0.1\nport=${tls.port}\ndbname=with_tls\nuser=lightcone\n`,
    );
    theirs = await askLibraries(
      DATABASES.map(([, url, env]) => ({ ask: 'database', value: filled(url), env: fill(env) })),
    );
  }, 60_000);

  it.each(DATABASES.map(([what, url, env], at) => [what, url, env, at] as const))(
    '%s: %s',
    async (_, url, env, at) => {
      const mine = await ours(filled(url), fill(env));
      const other = theirs[at]!;
      expect([mine.ok, mine.error]).toEqual([other.ok, other.error && expect.any(String)]);
    },
  );
});
