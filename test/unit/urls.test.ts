import { describe, expect, it } from 'vitest';
import { parseAmqpUrl, parseDatabaseUrl } from '../../src/config/urls.js';
import { clientOptions, maskUrl } from '../../src/database/postgres/options.js';

const database = (url: string) => parseDatabaseUrl(url, '/srv/lightcone', { PGUSER: 'account' }).address;
/** What the driver makes of the URL that we hand it. */
function driver(url: string) {
  const address = database(url);
  if (address.kind !== 'postgresql') throw new Error('not PostgreSQL');
  return { ...clientOptions(address.url), password: decodeURIComponent(new URL(address.url).password) };
}

describe('database URLs as SQLAlchemy writes them', () => {
  it.each([
    ['sqlite:///data/x.sqlite', '/srv/lightcone/data/x.sqlite'],
    ['sqlite:////abs/x.sqlite?isolation_level=IMMEDIATE', '/abs/x.sqlite'],
    ['sqlite+pysqlite:///./x.sqlite', '/srv/lightcone/x.sqlite'],
  ])('%s', (url, file) => {
    expect(database(url)).toEqual({ kind: 'sqlite', file, display: `sqlite:///${file}` });
  });

  it.each([
    ['postgresql://u:p@h:5433/d', { user: 'u', password: 'p', host: 'h', port: 5433, database: 'd' }],
    ['postgresql+psycopg2://u:p@h/d', { user: 'u', password: 'p', host: 'h', port: 5432, database: 'd' }],
    ['postgresql+psycopg://u@h/d', { user: 'u', password: '', host: 'h', database: 'd' }],
    ['postgresql:///d?host=/var/run/postgresql', { host: '/var/run/postgresql', database: 'd' }],
    [
      'postgresql://u:p@/d?host=/tmp/pg&port=5499',
      { user: 'u', password: 'p', host: '/tmp/pg', port: 5499, database: 'd' },
    ],
    ['postgresql:///d', { host: '/var/run/postgresql', database: 'd' }],
    ['postgresql://u:p%40ss%2Fw%25rd@h/d', { user: 'u', password: 'p@ss/w%rd' }],
    ['postgresql://u:a/b?c#d@h/d', { user: 'u', password: 'a/b?c#d', host: 'h', database: 'd' }],
    ['postgresql://u:p@[::1]:5432/d', { host: '::1', port: 5432, database: 'd' }],
    ['postgresql://h/d?application_name=x', { host: 'h', application_name: 'lightcone' }],
    ['postgresql://u:p%zz@h/d', { user: 'u', password: 'p%zz' }],
    ['postgresql://u@server:p@h/d', { user: 'u@server', password: 'p' }],
    ['postgresql://u:p@h', { host: 'h', database: 'u' }],
    ['postgresql://', { host: '/var/run/postgresql', user: 'account', database: 'account' }],
  ])('%s reaches the driver as it was meant', (url, expected) => {
    expect(driver(url)).toMatchObject(expected);
  });

  it('postgres:// is taken with a warning', () => {
    const { address, warnings } = parseDatabaseUrl('postgres://u@h/d', '/');
    expect(address).toMatchObject({ kind: 'postgresql', display: 'postgresql://u@h:5432/d' });
    expect(warnings).toEqual(['postgres:// is an old name that Galaxy refuses; write postgresql://']);
  });

  it.each([
    ['postgresql://u@a,b/d', ['a:5432', 'b:5432']],
    ['postgresql://u@a,b:5433/d', ['a:5433', 'b:5433']],
    ['postgresql://u@/d?host=a,/tmp/pg&port=1,2', ['a:1', '%2Ftmp%2Fpg:2']],
    ['postgresql://u@/d?host=a:1&host=b&host=[::1]:3', ['a:1', 'b:5432', '%3A%3A1:3']],
    ['postgresql://u@a,b/d?hostaddr=::1,10.0.0.2', ['%3A%3A1:5432', '10.0.0.2:5432']],
  ])('%s names servers to be tried in turn', (url, hosts) => {
    const address = database(`${url}${url.includes('?') ? '&' : '?'}target_session_attrs=primary`);
    if (address.kind !== 'postgresql') throw new Error('not PostgreSQL');
    const servers = address.url.split(';').map((one) => new URL(one));
    expect(servers.map(({ host }) => host)).toEqual(hosts);
    for (const server of servers) expect(server.searchParams.get('target_session_attrs')).toBe('primary');
    expect(maskUrl(address.url)).toBe(address.display);
  });

  it('shows no password', () => {
    expect(database('postgresql+psycopg2://u:hunter2@h:5433/d?x=1').display).toBe(
      'postgresql://u:***@h:5433/d',
    );
    expect(database('postgresql:///d?host=/run/pg&password=hunter2').display).toBe(
      'postgresql://account:***@/run/pg:5432/d',
    );
  });

  it.each([
    ['mysql://u:hunter2@h/d', /names the database mysql:\/\/, which is not supported/],
    ['galaxy.sqlite', /is not a database URL/],
    ['sqlite://', /in memory/],
    ['sqlite:///:memory:', /in memory/],
    ['sqlite://data/x.sqlite', /two slashes where SQLite needs three/],
    ['postgresql://u:hunter2@h:x/d', /port that is not a number/],
    ['postgresql://u:hunt@er2/x@h/d', /^has more than one @; in a user or a password write %40 for @$/],
    ['postgresql://u:hunt@er2@h/d', /^has more than one @/],
    ['postgresql://u:hunter2@h:0/d', /port that is not a number/],
    ['postgresql:///d?host=a:1&host=b&port=2', /several host= and a port/],
    ['postgresql://a,b,c/d?port=1,2', /names 3 hosts and 2 ports/],
    ['postgresql://a,b/d?hostaddr=10.0.0.1', /2 in host and 1 in hostaddr/],
    ['postgresql://a,b/d?port=1,x', /port that is not a number/],
    [
      'postgresql://u:hunter2@h/d?target_session_attrs=standby',
      /may select a read-only server; write primary/,
    ],
    ['postgresql://u:hunter2@h/d?target_session_attrs=most', /unknown target_session_attrs/],
    ['postgresql://h/d?sslmode=verify-ca', /without sslrootcert/],
    ['postgresql://h/d?sslmode=loose', /unknown sslmode/],
  ])('%s is refused, without its password', (url, message) => {
    expect(() => database(url)).toThrow(message);
    expect(() => database(url)).not.toThrow(/hunter2/);
  });
});

describe('broker URLs as kombu writes them', () => {
  const broker = (url: string) => parseAmqpUrl(url).address;

  it.each([
    ['amqp://u:p@h:5673/v', 'amqp://u:p@h:5673/v'],
    ['amqp://u:p@h//', 'amqp://u:p@h:5672/%2F'],
    ['amqp://u:p@h/', 'amqp://u:p@h:5672/%2F'],
    ['amqp://u:p@h', 'amqp://u:p@h:5672/%2F'],
    ['amqp://h/%2Fgalaxy', 'amqp://guest:guest@h:5672/%2Fgalaxy'],
    ['amqp://', 'amqp://guest:guest@localhost:5672/%2F'],
    ['pyamqp://u:p@h//', 'amqp://u:p@h:5672/%2F'],
    ['amqps://u:p%40%2F@h/v', 'amqps://u:p%40%2F@h:5671/v'],
    ['amqp://u:p@[::1]:5672/v?heartbeat=10', 'amqp://u:p@[::1]:5672/v'],
    ['amqp://u:p@ss%@h/v', 'amqp://u:p%40ss%25@h:5672/v'],
  ])('%s', (url, expected) => {
    expect(broker(url).url).toBe(expected);
  });

  it.each([
    ['amqp://u:p@a//;amqp://x:y@b/v', ['amqp://u:p@a:5672/%2F', 'amqp://x:y@b:5672/v']],
    ['amqp://u:p@a:5673/v;b;c:5674', ['amqp://u:p@a:5673/v', 'amqp://u:p@b:5673/v', 'amqp://u:p@c:5674/v']],
    ['amqp://u:p@a/v?ssl=1;amqp://b', ['amqps://u:p@a:5671/v', 'amqps://guest:guest@b:5671/v']],
    ['amqp://a//;[::1];', ['amqp://guest:guest@a:5672/%2F', 'amqp://guest:guest@[::1]:5672/%2F']],
  ])('several, each with what it leaves open from those before: %s', (url, expected) => {
    expect(broker(url).url.split(';')).toEqual(expected);
  });

  it('shows no password', () => {
    expect(broker('amqp://u:hunter2@a//;amqp://v:hunter2@b//').display).toBe(
      'amqp://u:***@a:5672//;amqp://v:***@b:5672//',
    );
    expect(broker('pyamqp://u:hunter2@h//').display).toBe('amqp://u:***@h:5672//');
  });

  it('names parameters that are not used', () => {
    expect(parseAmqpUrl('amqp://h/v?login_method=EXTERNAL').warnings).toEqual([
      'the parameter login_method of the broker URL is not used',
    ]);
  });

  it.each([
    ['sqlalchemy+postgresql://u:hunter2@h/d', /database as message broker .* set up RabbitMQ/],
    ['sqla+sqlite:///x', /database as message broker/],
    ['redis://h', /names the broker redis:\/\//],
    ['amqp://u:hunter2@a//;b@c', /neither a URL nor a host/],
    ['amqp://u:hunter2@a//;http://b', /the broker http:/],
    ['amqp://u:hunter2@a//;b:0', /port/],
    ['rabbit', /is not a broker URL/],
    ['amqp://u:hunter2@h:port/v', /port that is not a number/],
  ])('%s is refused, without its password', (url, message) => {
    expect(() => broker(url)).toThrow(message);
    expect(() => broker(url)).not.toThrow(/hunter2/);
  });
});
