import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadConfig, loadSettings } from '../../src/config/load.js';
import { LightconeError } from '../../src/core/errors.js';

let cwd: string;
beforeAll(() => {
  cwd = mkdtempSync(join(tmpdir(), 'lightcone-config-'));
});
afterAll(() => rmSync(cwd, { recursive: true }));

type Env = Record<string, string>;
const load = (yaml: string | undefined, env: Env = {}, sse: Record<string, string> = {}) => {
  if (yaml !== undefined) writeFileSync(join(cwd, 'galaxy.yml'), yaml);
  return loadConfig({ env, flags: { ...(yaml === undefined ? {} : { config: 'galaxy.yml' }), sse }, cwd });
};

/** The lines of the one error, without its heading. */
function mistakes(work: () => unknown): string[] {
  try {
    work();
  } catch (error) {
    expect(error).toBeInstanceOf(LightconeError);
    expect((error as LightconeError).code).toBe('CONFIG_INVALID');
    return (error as Error).message.split('\n  ').slice(1);
  }
  throw new Error('the settings were accepted');
}

describe('without a settings file', () => {
  it('runs the embedded default: SQLite, in-process bus, everything switched on', () => {
    const config = load(undefined);
    expect(config.database).toEqual({
      kind: 'sqlite',
      file: join(cwd, 'data/lightcone.sqlite'),
      display: `sqlite:///${join(cwd, 'data/lightcone.sqlite')}`,
    });
    expect(config.bus.kind).toBe('in-process');
    expect(config.sse).toEqual({
      enabled: true,
      attachToGalaxy: false,
      workers: 1,
      keepaliveSeconds: 30,
      queueSize: 64,
      debounceMs: 200,
      heartbeatSeconds: 5,
      pollIntervalSeconds: 2,
      recentWindowSeconds: 900,
      rowClockSeconds: 10,
      maxConnections: 20_000,
      maxConnectionsPerAddress: 0,
      maxConnectionsPerUser: 50,
      drainTimeoutSeconds: 30,
      writeTimeoutSeconds: 60,
      permissionCheckSeconds: 25,
      nodeInternals: true,
    });
    expect(config.http.listen).toEqual({ kind: 'tcp', host: '127.0.0.1', port: 8080 });
    expect(config.features.notifications).toBe(true);
    expect(config.statsd).toBeUndefined();
    expect(config.warnings).toEqual([]);
  });

  it('cannot be changed afterwards', () => {
    const config = load(undefined);
    expect(Object.isFrozen(config)).toBe(true);
    expect(Object.isFrozen(config.sse)).toBe(true);
    expect(Object.isFrozen(config.auth.adminUsers)).toBe(true);
  });
});

describe('with a settings file', () => {
  it("has Galaxy's defaults for what the file leaves out", () => {
    const config = load('galaxy:\n  server_name: web\n');
    expect(config.features.notifications).toBe(false);
    expect(config.serverName).toBe('web');
  });

  it('serves the stream unless it says off, and says so then; beside a Galaxy it is off as there', () => {
    const off = /enable_sse_updates: is off, so the stream answers 403/;
    const production = '  database_connection: postgresql://u@h/d\n  amqp_internal_connection: amqp://h//\n';
    const alone = load(`galaxy:\n${production}`);
    expect([alone.sse.enabled, alone.warnings]).toEqual([true, []]);
    const said = load(`galaxy:\n${production}  enable_sse_updates: false\n`);
    expect([said.sse.enabled, said.warnings]).toEqual([false, [expect.stringMatching(off)]]);
    const beside = load(`galaxy:\n${production}sse: {attach_to_galaxy: true}\n`);
    expect([beside.sse.enabled, beside.warnings]).toEqual([false, [expect.stringMatching(off)]]);
  });

  it('is found through GALAXY_CONFIG_FILE, and the flag wins over it', () => {
    writeFileSync(join(cwd, 'a.yml'), 'galaxy: {server_name: a}');
    writeFileSync(join(cwd, 'b.yml'), 'galaxy: {server_name: b}');
    const env = { GALAXY_CONFIG_FILE: 'a.yml' };
    expect(loadConfig({ env, flags: {}, cwd }).serverName).toBe('a');
    expect(loadConfig({ env, flags: { config: 'b.yml' }, cwd }).serverName).toBe('b');
  });

  it('reads the section sse: at the top level or inside galaxy:, but not both', () => {
    expect(load('sse:\n  queue_size: 7\n').sse.queueSize).toBe(7);
    expect(load('galaxy:\n  sse:\n    queue_size: 8\n').sse.queueSize).toBe(8);
    expect(mistakes(() => load('galaxy: {sse: {workers: 1}}\nsse: {workers: 1}'))).toEqual([
      'galaxy.yml: sse: duplicate section, at the top level and inside galaxy:',
    ]);
  });

  it.each([
    ['yes', true],
    ['"On"', true],
    ['"TRUE"', true],
    ['1', true],
    ['off', false],
    ['"No"', false],
    ['0', false],
  ])('reads %s as Galaxy does', (word, expected) => {
    expect(load(`galaxy:\n  enable_sse_updates: ${word}\n`).sse.enabled).toBe(expected);
  });

  it('says what is wrong with aliases that multiply without end', () => {
    const lines = ['a0: &a0 [x, x, x, x, x, x, x, x, x]'];
    for (let i = 1; i < 9; i += 1) lines.push(`a${i}: &a${i} [${Array(9).fill(`*a${i - 1}`)}]`);
    expect(() => load(`galaxy: {}\n${lines.join('\n')}\n`)).toThrow(/galaxy\.yml: not valid YAML: .*alias/);
  });

  it('takes no key for a known one because every object has it', () => {
    expect(load('galaxy: {constructor: 1, toString: 2}', { GALAXY_CONFIG_VALUEOF: '1' }).warnings).toEqual(
      load('galaxy: {}').warnings,
    );
  });

  it('takes text as it is written, whatever YAML makes of it without quotes', () => {
    const text = (value: string) => load(`galaxy: {server_name: ${value}}`).serverName;
    for (const value of [
      '9117e436251',
      '12345678e2',
      '0123',
      '1_000',
      '1:30',
      'yes',
      '2024-01-01',
      '.inf',
      '1.50',
    ]) {
      expect(text(value)).toBe(value);
    }
    const { auth } = load('galaxy:\n  id_secret: 9117e436251\n  bootstrap_admin_api_key: 12345678e2\n');
    expect(auth).toMatchObject({ idSecret: '9117e436251', bootstrapAdminApiKey: '12345678e2' });
    expect(load('sse: {listen: "unix:/run/l.sock", socket_mode: 0660}').http.listen).toMatchObject({
      mode: 0o660,
    });
  });

  it('beside a Galaxy refuses a text that Galaxy reads as another one, without showing a secret', () => {
    const beside = `database_connection: postgresql://u@h/d
  amqp_internal_connection: amqp://h//
  sse: {attach_to_galaxy: true}`;
    expect(mistakes(() => load(`galaxy:\n  id_secret: 0123456\n  server_name: 1_0\n  ${beside}\n`))).toEqual([
      'galaxy.yml: galaxy.id_secret: has no quotes, so Galaxy reads it as another text; put that text in quotes',
      'galaxy.yml: galaxy.server_name: has no quotes, so Galaxy reads it as 10; put that text in quotes',
    ]);
    expect(load(`galaxy:\n  id_secret: "0123456"\n  ${beside}\n`).auth.idSecret).toBe('0123456');
    expect(load(`galaxy:\n  id_secret: 9117e436251\n  ${beside}\n`).auth.idSecret).toBe('9117e436251');
  });

  it('takes the last of two equal keys, as Galaxy does, and says so', () => {
    const { serverName, warnings } = load('galaxy: {server_name: a, server_name: b}');
    expect(serverName).toBe('b');
    expect(warnings).toContain(
      'galaxy.yml: server_name: duplicate key; the last value applies, as in Galaxy',
    );
  });

  it('reads anchors, merged keys, a byte order mark, and refuses a tag that Galaxy would refuse', () => {
    const merged = load(
      '\ufeffbase: &base {server_name: a, statsd_port: 0x10}\ngalaxy: {<<: *base, statsd_host: h}',
    );
    expect([merged.serverName, merged.statsd?.port]).toEqual(['a', 16]);
    expect(mistakes(() => load('galaxy: !include other.yml'))[0]).toMatch(
      /line 1, column 9: has an unknown tag/,
    );
  });

  it('leaves the default where a key has no value', () => {
    expect(load('galaxy:\n  statsd_port:\n').statsd).toBeUndefined();
    expect(load('galaxy:\n  server_name:\n').serverName).toBe('main');
  });
});

describe('the order of the sources', () => {
  const file = 'galaxy: {server_name: file}\nsse: {queue_size: 2}';

  it('GALAXY_CONFIG_<KEY> counts only where nothing else is set', () => {
    expect(load(file, { GALAXY_CONFIG_SERVER_NAME: 'env' }).serverName).toBe('file');
    expect(load('galaxy: {}', { GALAXY_CONFIG_SERVER_NAME: 'env' }).serverName).toBe('env');
  });

  it('GALAXY_CONFIG_OVERRIDE_<KEY> beats the file', () => {
    const env = { GALAXY_CONFIG_OVERRIDE_SERVER_NAME: 'override', GALAXY_CONFIG_SERVER_NAME: 'env' };
    expect(load(file, env).serverName).toBe('override');
  });

  it('LIGHTCONE_<KEY> beats the file, and a flag beats both', () => {
    expect(load(file, { LIGHTCONE_QUEUE_SIZE: '3' }).sse.queueSize).toBe(3);
    expect(load(file, { LIGHTCONE_QUEUE_SIZE: '3' }, { queue_size: '4' }).sse.queueSize).toBe(4);
  });

  it('tells where each value came from', () => {
    writeFileSync(join(cwd, 'galaxy.yml'), file);
    const { settled } = loadSettings({
      env: { LIGHTCONE_LOG_LEVEL: 'warn' },
      flags: { config: 'galaxy.yml', sse: { max_connections: '9' } },
      cwd,
    });
    expect(settled.sourceOf('galaxy', 'server_name')).toBe('galaxy.yml: galaxy.server_name');
    expect(settled.sourceOf('sse', 'log_level')).toBe('LIGHTCONE_LOG_LEVEL');
    expect(settled.sourceOf('sse', 'max_connections')).toBe('--max-connections');
    expect(settled.sourceOf('sse', 'workers')).toBe('default');
  });
});

describe('a wrong settings file', () => {
  it.each([
    ['an empty file', '', /^galaxy\.yml: is empty; it needs a section "galaxy:"/],
    ['only comments', '# nothing\n', /^galaxy\.yml: is empty/],
    ['no section of ours', 'gravity: {}\n', /has neither a section "galaxy:" nor a section "sse:"/],
    ['a list', '- galaxy\n', /must have a section "galaxy:"/],
    ['a section that is a list', 'galaxy: [1]\n', /^galaxy\.yml: galaxy: must be a section/],
    ['a section that is a number', 'galaxy: {}\nsse: 5\n', /^galaxy\.yml: sse: must be a section/],
    ['broken YAML', 'galaxy:\n  a: [1, 2\nb: {\n', /^galaxy\.yml: line \d+, column \d+: not valid YAML: /],
    ['a tab', 'galaxy:\n\tserver_name: x\n', /^galaxy\.yml: line 2, column \d+: /],
    ['a key twice', 'sse:\n  workers: 1\n  workers: 2\n', /^galaxy\.yml: sse\.workers: duplicate key$/],
    [
      'the ini form',
      '[app:main]\nserver_name = a\n',
      /has the ini format, which Lightcone does not read; write the keys of \[app:main\]/,
    ],
  ])('%s is refused with a line that says so', (_, yaml, message) => {
    const lines = mistakes(() => load(yaml));
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(message);
  });

  it('that does not exist, or is a directory, is refused', () => {
    const named = (config: string) => mistakes(() => loadConfig({ env: {}, flags: { config }, cwd }));
    expect(named('none.yml')).toEqual(['none.yml: the file does not exist']);
    mkdirSync(join(cwd, 'dir'), { recursive: true });
    expect(named('dir')).toEqual(['dir: is a directory; give a file, such as galaxy.yml']);
    for (const bytes of ['\ufeffgalaxy: {}', 'galaxy: {brand: caf\xe9}'].map((text, latin) =>
      Buffer.from(text, latin ? 'latin1' : 'utf16le'),
    )) {
      writeFileSync(join(cwd, 'other.yml'), bytes);
      expect(named('other.yml')).toEqual(['other.yml: is not UTF-8 text; save it as UTF-8']);
    }
  });

  it('never shows the text around a mistake, where a password may stand', () => {
    const yaml = 'galaxy:\n  database_connection: "postgresql://u:hunter2@h/d\n';
    expect(mistakes(() => load(yaml)).join()).not.toContain('hunter2');
  });

  it('with an empty section galaxy: runs and warns', () => {
    expect(load('galaxy:\n').warnings).toEqual([
      'galaxy.yml: galaxy: this section is empty, so the defaults apply',
    ]);
  });
});

describe('a wrong value', () => {
  it('is told with its path, what is allowed and what it is', () => {
    expect(mistakes(() => load('sse:\n  queue_size: many\n'))).toEqual([
      'galaxy.yml: sse.queue_size: must be a whole number from 1 to 10000, is "many"',
    ]);
  });

  it('is told together with all others, from every source', () => {
    const lines = mistakes(() =>
      load(
        'galaxy: {enable_sse_updates: maybe, id_secret: abc}\nsse: {listen: nowhere}',
        { LIGHTCONE_DEBOUNCE: '-1', GALAXY_CONFIG_OVERRIDE_STATSD_PORT: '70000' },
        { workers: 'two' },
      ),
    );
    expect(lines.sort()).toEqual([
      '--workers: must be a whole number from 1 to 256, is "two"',
      'GALAXY_CONFIG_OVERRIDE_STATSD_PORT: must be a whole number from 1 to 65535, is "70000"',
      'LIGHTCONE_DEBOUNCE: must be a number from 0 to 60, is "-1"',
      'galaxy.yml: galaxy.enable_sse_updates: must be true or false, is "maybe"',
      'galaxy.yml: galaxy.id_secret: must be text of 5 to 56 bytes',
      'galaxy.yml: sse.listen: must be host:port, [::1]:port or unix:/path (a port up to 65535, a path of at most 107 bytes), is "nowhere"',
    ]);
  });

  it.each([
    ['sse: {workers: 1.5}', 'sse.workers: must be a whole number from 1 to 256, is 1.5'],
    ['sse: {max_connections: 0}', 'sse.max_connections: must be a whole number of at least 1, is 0'],
    ['sse: {debounce: .nan}', 'sse.debounce: must be a number from 0 to 60, is .nan'],
    ['sse: {socket_mode: "0999"}', 'sse.socket_mode: must be an octal mode, such as "0660", is "0999"'],
    [
      'sse: {listen: "h:70000"}',
      'sse.listen: must be host:port, [::1]:port or unix:/path (a port up to 65535, a path of at most 107 bytes), is "h:70000"',
    ],
    [
      'sse: {listen: "unix:rel"}',
      'sse.listen: must be host:port, [::1]:port or unix:/path (a port up to 65535, a path of at most 107 bytes), is "unix:rel"',
    ],
    [
      'sse: {permission_check_interval: 31}',
      'sse.permission_check_interval: must be a whole number from 1 to 30, is 31',
    ],
    // One timer a second drives these: it would never come to a fraction.
    [
      'sse: {permission_check_interval: 0.7}',
      'sse.permission_check_interval: must be a whole number from 1 to 30, is 0.7',
    ],
    [
      'sse: {keepalive_interval: 2.5}',
      'sse.keepalive_interval: must be a whole number from 1 to 3600, is 2.5',
    ],
    ['sse: {write_timeout: 1.5}', 'sse.write_timeout: must be a whole number from 1 to 3600, is 1.5'],
    // A timer that is set for more than 24 days rings a thousand times a second.
    [
      'galaxy: {queue_metrics_interval: 2592000}',
      'galaxy.queue_metrics_interval: must be a whole number from 0 to 86400, is 2592000',
    ],
    [
      'sse: {log_level: loud}',
      'sse.log_level: must be one of fatal, error, warn, info, debug, trace, silent, is "loud"',
    ],
    [
      'sse: {allowed_origins: "*"}',
      'sse.allowed_origins: must be a list of origins such as https://galaxy.example.org (no path, no *), is "*"',
    ],
    [
      'galaxy: {galaxy_url_prefix: galaxy}',
      'galaxy.galaxy_url_prefix: must be a path that begins with /, such as /galaxy, is "galaxy"',
    ],
    [
      'galaxy: {galaxy_infrastructure_url: host}',
      'galaxy.galaxy_infrastructure_url: must be an http:// or https:// URL, is "host"',
    ],
    [
      'galaxy: {admin_users: {a: 1}}',
      'galaxy.admin_users: must be a list, or text with items separated by commas, is {"a":1}',
    ],
    [
      'galaxy: {server_name: [a]}',
      'galaxy.server_name: must be text of 1 to 200 characters without blanks, is ["a"]',
    ],
  ])('%s', (yaml, line) => {
    expect(mistakes(() => load(yaml))).toEqual([`galaxy.yml: ${line}`]);
  });

  it('never shows a secret', () => {
    const yaml =
      'galaxy: {id_secret: tiny, bootstrap_admin_api_key: hunter, database_connection: "pg://u:hunter2@h/d"}';
    const text = mistakes(() => load(yaml)).join('\n');
    expect(text).not.toMatch(/tiny|hunter/);
    expect(text).toContain('bootstrap_admin_api_key: must be text of at least 8 characters');
  });
});

describe('an unknown key', () => {
  it('in sse: stops the start and names the nearest one', () => {
    expect(mistakes(() => load('sse: {queue_sise: 5}'))).toEqual([
      'galaxy.yml: sse.queue_sise: unknown setting; did you mean queue_size?',
    ]);
    expect(mistakes(() => load(undefined, { LIGHTCONE_KEEPALIVE: '5' }))).toEqual([
      'LIGHTCONE_KEEPALIVE: unknown setting; did you mean keepalive_interval?',
    ]);
  });

  it("in galaxy: is Galaxy's business, but warned of when it is nearly one of ours", () => {
    expect(load('galaxy: {brand: x, tool_config_file: y}').warnings).toEqual([]);
    expect(load('galaxy: {enable_sse_update: true}').warnings).toEqual([
      'galaxy.yml: galaxy.enable_sse_update: Lightcone reads no such setting; did you mean enable_sse_updates?',
    ]);
  });

  it.each([
    [
      'GALAXY_CONFIG_OVERRIDE_DATABASE_CONECTION',
      'Lightcone reads no such setting; did you mean database_connection?',
    ],
    ['GALAXY_CONFIG_STATSD_HOSTS', 'Lightcone reads no such setting; did you mean statsd_host?'],
    ['GALAXY_CONFIG_OVERIDE_ID_SECRET', 'has no effect; did you mean GALAXY_CONFIG_OVERRIDE_ID_SECRET?'],
    ['GALAXY_CONFIG_OVERRIDE_WORKERS', 'has no effect; did you mean LIGHTCONE_WORKERS?'],
  ])('%s in the environment is warned of', (name, warning) => {
    expect(load(undefined, { [name]: '5' }).warnings).toEqual([`${name}: ${warning}`]);
  });

  it.each([
    ['LIGHTCONE_ID_SECRET', 'GALAXY_CONFIG_OVERRIDE_ID_SECRET'],
    ['LIGHTCONE_CONFIG_FILE', 'GALAXY_CONFIG_FILE'],
  ])('%s in the environment is refused, with the name that was meant', (name, meant) => {
    expect(mistakes(() => load(undefined, { [name]: 'x' }))).toEqual([
      `${name}: unknown setting; did you mean ${meant}?`,
    ]);
  });

  it('in the wrong section is told where it belongs', () => {
    expect(load('galaxy: {listen: "127.0.0.1:1", log_level: DEBUG}').warnings).toEqual([
      'galaxy.yml: galaxy.listen: has no effect in this section; move the line to the section sse:',
    ]);
    expect(mistakes(() => load('sse: {admin_users: me}'))).toEqual([
      'galaxy.yml: sse.admin_users: unknown setting; it belongs in the section galaxy:',
    ]);
  });

  it.each(['enable_sse_history_updates', 'enable_sse_entry_point_updates'])(
    '%s was removed, and the warning says so',
    (key) => {
      const config = load(`galaxy: {${key}: true}`);
      expect(config.sse.enabled).toBe(true);
      expect(config.warnings).toEqual([
        `galaxy.yml: galaxy.${key}: this key was removed and has no effect; use enable_sse_updates`,
      ]);
    },
  );

  it('GALAXY_CONFIG_… of another program is not looked at', () => {
    expect(load(undefined, { GALAXY_CONFIG_OVERRIDE_BRAND: 'x', GALAXY_CONFIG_DIR: '/x' }).warnings).toEqual(
      [],
    );
  });
});

describe('settings that belong together', () => {
  const postgres = 'postgresql://u:p@h/d';

  it('beside a Galaxy both its PostgreSQL and its RabbitMQ are needed', () => {
    expect(mistakes(() => load('sse: {attach_to_galaxy: true}'))).toEqual([
      "galaxy.yml: sse.attach_to_galaxy: needs Galaxy's PostgreSQL; set database_connection to the postgresql:// URL that Galaxy uses",
      "galaxy.yml: sse.attach_to_galaxy: needs Galaxy's RabbitMQ; set amqp_internal_connection to the amqp:// URL that Galaxy uses",
    ]);
  });

  it('beside a Galaxy heartbeats go once a minute and metrics in its form', () => {
    const config = load(
      `galaxy: {database_connection: "${postgres}", amqp_internal_connection: "amqp://", statsd_host: s, statsd_influxdb: true}\nsse: {attach_to_galaxy: true}`,
    );
    expect(config.sse.heartbeatSeconds).toBe(60);
    expect(config.statsd).toEqual({ host: 's', port: 8125, prefix: 'galaxy', form: 'galaxy-influxdb' });
    expect(config.features.interactiveToolsMap).toBeUndefined();
  });

  it('several workers need a broker', () => {
    expect(mistakes(() => load(undefined, {}, { workers: '2' }))).toEqual([
      '--workers: more than one worker needs a message broker; set amqp_internal_connection, or workers to 1',
    ]);
    expect(
      load(undefined, { GALAXY_CONFIG_AMQP_INTERNAL_CONNECTION: 'amqp://h' }, { workers: '2' }).sse.workers,
    ).toBe(2);
  });

  it('the default secret on an address that others reach is warned of', () => {
    expect(load(undefined, {}, { listen: '0.0.0.0:80' }).warnings).toEqual([
      'galaxy.id_secret: the default is public and other machines can reach 0.0.0.0:80; set a secret of your own',
    ]);
    expect(load(undefined, {}, { listen: '[::1]:80' }).warnings).toEqual([]);
    expect(load('galaxy: {id_secret: our-own-secret}', {}, { listen: '0.0.0.0:80' }).warnings).toEqual([]);
  });

  it('an unencrypted sqlalchemy+ broker URL gets a line that says what to do', () => {
    expect(
      mistakes(() => load('galaxy: {amqp_internal_connection: "sqlalchemy+sqlite:///x"}\nsse: {workers: 2}')),
    ).toEqual([
      'galaxy.yml: galaxy.amqp_internal_connection: uses the database as message broker (sqlalchemy+…), which only Galaxy supports; set up RabbitMQ and write amqp://user:password@host:5672/vhost',
    ]);
  });

  it("Galaxy's other ways of signing in are said to be missing when no Galaxy is there", () => {
    expect(load('galaxy: {use_remote_user: true, require_login: false}').warnings).toEqual([
      'galaxy.yml: galaxy.use_remote_user: has no effect; a standalone Lightcone supports API keys and sessions only',
    ]);
  });

  it('the URL prefix loses its last slash and is the path of the cookie', () => {
    const config = load('galaxy: {galaxy_url_prefix: /galaxy/}');
    expect(config.http.prefix).toBe('/galaxy');
    expect(config.auth.cookiePath).toBe('/galaxy');
    expect(load('galaxy: {}').http.prefix).toBe('');
    expect(load('galaxy: {}').auth.cookiePath).toBe('/');
  });

  it('addresses are read in every form', () => {
    expect(load(undefined, {}, { listen: '[::1]:0' }).http.listen).toEqual({
      kind: 'tcp',
      host: '::1',
      port: 0,
    });
    expect(load('sse: {listen: "unix:/run/l.sock", socket_mode: "0666"}').http.listen).toEqual({
      kind: 'unix',
      path: '/run/l.sock',
      mode: 0o666,
    });
  });
});
