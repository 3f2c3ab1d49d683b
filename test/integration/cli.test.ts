import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { SSE_SETTINGS } from '../../src/config/schema.js';

const DIST = resolve(import.meta.dirname, '../../dist');
let cwd: string;

interface Outcome {
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs the built command line as an administrator would, in a directory of its own. */
function run(program: 'cli' | 'sse-monitor', args: readonly string[], env: Record<string, string> = {}) {
  return new Promise<Outcome>((done) => {
    const options = { cwd, env: { PATH: process.env.PATH, HOME: cwd, ...env }, timeout: 20_000 };
    execFile(process.execPath, [join(DIST, `${program}.js`), ...args], options, (error, stdout, stderr) =>
      done({ code: error ? Number(error.code ?? -1) : 0, stdout, stderr }),
    );
  });
}
const lightcone = (...args: string[]) => run('cli', args);
const lines = (text: string) => text.trimEnd().split('\n');

beforeAll(() => {
  if (!existsSync(join(DIST, 'cli.js'))) throw new Error('dist/cli.js is missing: run "npm run build" first');
});
beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), 'lightcone-cli-'));
});
afterEach(() => rmSync(cwd, { recursive: true }));

describe('asking wrongly', () => {
  it('an unknown command is named, with the nearest one, and ends with 2', async () => {
    const { code, stderr } = await lightcone('srve');
    expect(stderr).toBe("error: unknown command 'srve'\n(Did you mean serve?)\n");
    expect(code).toBe(2);
  });

  it('a command that is near to none gets one line and a hint', async () => {
    const { code, stderr } = await lightcone('frobnicate');
    expect(stderr).toBe("error: unknown command 'frobnicate'\n(lightcone --help lists the commands)\n");
    expect(code).toBe(2);
  });

  it('the hint names the command whose commands it lists', async () => {
    const { code, stderr } = await lightcone('user', 'frobnicate');
    expect(stderr).toBe("error: unknown command 'frobnicate'\n(lightcone user --help lists the commands)\n");
    expect(code).toBe(2);
  });

  it('help of a command that there is not is refused as the command would be', async () => {
    const hint = "error: unknown command 'frobnicate'\n";
    for (const [args, where] of [
      [['help', 'frobnicate'], 'lightcone'],
      [['help', 'user', 'frobnicate'], 'lightcone user'],
      [['user', 'help', 'frobnicate'], 'lightcone user'],
    ] as const) {
      const { code, stdout, stderr } = await lightcone(...args);
      expect([code, stdout, stderr]).toEqual([2, '', `${hint}(${where} --help lists the commands)\n`]);
    }
    const { code, stdout } = await lightcone('help', 'user', 'add');
    expect([code, stdout]).toEqual([0, expect.stringMatching(/^Usage: lightcone user add /)]);
  });

  it('an empty e-mail address ends with 2', async () => {
    for (const args of [
      ['tail', '--user', ''],
      ['notify', '--user', ' ', 'subject', 'message'],
    ]) {
      const { code, stderr } = await lightcone(...args);
      expect([code, stderr]).toEqual([2, expect.stringMatching(/'--user <email>'.*It is empty/)]);
    }
  });

  it('what is no e-mail address ends with 2', async () => {
    const { code, stderr } = await lightcone('user', 'add', 'alice');
    expect(stderr).toBe('lightcone: "alice" is not an e-mail address\n');
    expect(code).toBe(2);
  });

  it('an unknown flag ends with 2', async () => {
    const { code, stderr } = await lightcone('serve', '--lisen', 'x');
    expect(stderr).toContain("unknown option '--lisen'");
    expect(code).toBe(2);
  });

  it('every wrong setting of file, environment and flags is listed, without a stack, and the start is refused', async () => {
    writeFileSync(
      join(cwd, 'galaxy.yml'),
      'galaxy:\n  admin_user: a@b.c\nsse:\n  queue_size: many\n  queue_sise: 5\n',
    );
    const { code, stdout, stderr } = await run('cli', ['serve', '-c', 'galaxy.yml', '--workers', 'two'], {
      LIGHTCONE_DEBOUNCE: 'soon',
    });
    expect(lines(stderr)).toEqual([
      'lightcone: invalid settings:',
      '  galaxy.yml: sse.queue_size: must be a whole number from 1 to 10000, is "many"',
      '  galaxy.yml: sse.queue_sise: unknown setting; did you mean queue_size?',
      '  LIGHTCONE_DEBOUNCE: must be a number from 0 to 60, is "soon"',
      '  --workers: must be a whole number from 1 to 256, is "two"',
      expect.stringMatching(/^ {2}warning: galaxy\.yml: galaxy\.admin_user: .* did you mean admin_users\?/),
    ]);
    expect(stdout).toBe('');
    expect(code).toBe(2);
    expect(existsSync(join(cwd, 'data'))).toBe(false);
  });

  it('a settings file that is not there is refused', async () => {
    const { code, stderr } = await run('cli', ['doctor'], { GALAXY_CONFIG_FILE: 'none.yml' });
    expect(stderr).toBe('lightcone: invalid settings:\n  none.yml: the file does not exist\n');
    expect(code).toBe(2);
  });

  it('a process that may open fewer files than it takes streams says so', async () => {
    const serve = (most: number) =>
      new Promise<string>((done) => {
        const command = [process.execPath, join(DIST, 'cli.js'), 'serve', '--listen', 'unix:/none/sock'];
        const args = ['-c', 'ulimit -n 300; exec "$0" "$@"', ...command, '--max-connections', String(most)];
        execFile('bash', args, { cwd, timeout: 20_000 }, (_error, _stdout, stderr) => done(stderr));
      });
    expect(await serve(301)).toContain(
      'this process may open fewer files than max_connections: raise the limit',
    );
    expect(await serve(300)).not.toContain('may open fewer files');
  });

  it('demo data is refused on an address that others reach', async () => {
    const { code, stderr } = await lightcone('serve', '--demo', '--listen', '0.0.0.0:0');
    expect(lines(stderr).at(-1)).toContain('--demo: its API keys are public');
    expect(code).toBe(2);
  });

  it('a standalone monitor without a broker is refused', async () => {
    const { code, stderr } = await run('sse-monitor', []);
    expect(stderr).toContain('reaches the workers only through RabbitMQ');
    expect(code).toBe(2);
  });

  it('a notification needs a recipient', async () => {
    const { code, stderr } = await lightcone('notify', 'subject', 'message');
    expect(stderr).toBe('error: name the recipient: --broadcast or --user EMAIL\n');
    expect(code).toBe(2);
  });
});

describe('help and version', () => {
  it('help names every command and ends with 0', async () => {
    const { code, stdout } = await lightcone('--help');
    for (const command of ['serve', 'monitor', 'migrate', 'user', 'notify', 'doctor', 'config']) {
      expect(stdout).toMatch(new RegExp(`^  ${command}\\b`, 'm'));
    }
    expect(code).toBe(0);
  });

  it('help of a command tells defaults, and a monitor offers nothing that serves', async () => {
    const serve = (await lightcone('serve', '--help')).stdout;
    expect(serve).toMatch(/--queue-size <int>[^-]*\(default:\s+64\)/);
    expect(serve).toMatch(/--attach-to-galaxy \[true\|false\][^-]*\(default:\s+false\)/);
    expect(serve).not.toContain('preset');
    expect((await lightcone('monitor', '--help')).stdout).not.toMatch(/--(listen|workers|max-connections)\b/);
    for (const asking of ['doctor', 'tail'])
      expect((await lightcone(asking, '--help')).stdout).toMatch(
        /--listen <text>[\s\S]*\(default:\s+127\.0\.0\.1:8080\)/,
      );
  });

  it('help has a flag for each setting of `sse:`', async () => {
    const { stdout } = await lightcone('config', '--help');
    const missing = Object.keys(SSE_SETTINGS).filter(
      (key) => !stdout.includes(`--${key.replaceAll('_', '-')} `),
    );
    expect(missing).toEqual([]);
  });

  it('prints the version', async () => {
    expect((await lightcone('--version')).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});

describe('config', () => {
  it('prints what is in effect and where it comes from, without passwords', async () => {
    writeFileSync(
      join(cwd, 'galaxy.yml'),
      'galaxy:\n  database_connection: postgresql://u:hunter2@h/d\n  id_secret: hunter2-too\n',
    );
    const { code, stdout } = await run('cli', ['config', '-c', 'galaxy.yml', '--queue-size', '9']);
    expect(stdout).toContain(
      '  database_connection: postgresql://u:***@h:5432/d  # galaxy.yml: galaxy.database_connection\n',
    );
    expect(stdout).toContain('  id_secret: ***  # galaxy.yml: galaxy.id_secret\n');
    expect(stdout).toContain('  queue_size: 9  # --queue-size\n');
    expect(stdout).not.toContain('hunter2');
    expect(code).toBe(0);
  });

  it('--check says that the settings are valid, and warns', async () => {
    writeFileSync(join(cwd, 'galaxy.yml'), 'galaxy:\n  enable_sse_history_updates: true\n');
    const { stdout, stderr } = await lightcone('config', '--check', '-c', 'galaxy.yml');
    expect(stdout).toBe('the settings are valid, with a warning\n');
    expect(stderr).toBe(
      'warning: galaxy.yml: galaxy.enable_sse_history_updates: this key was removed and has no effect; use enable_sse_updates\n',
    );
  });

  it('--strict ends with 2 where a key is nearly one of ours', async () => {
    writeFileSync(join(cwd, 'galaxy.yml'), 'galaxy:\n  database_conection: postgresql://h/d\n');
    const { code, stderr } = await lightcone('config', '--check', '--strict', '-c', 'galaxy.yml');
    expect(stderr).toContain('did you mean database_connection?');
    expect(code).toBe(2);
    writeFileSync(join(cwd, 'galaxy.yml'), 'galaxy:\n  server_name: main\n');
    expect(await lightcone('config', '--check', '--strict', '-c', 'galaxy.yml')).toEqual({
      code: 0,
      stdout: 'the settings are valid\n',
      stderr: '',
    });
  });
});

describe('what a command that ends says', () => {
  it('is one sentence on standard error when it fails, without log lines', async () => {
    const { code, stdout, stderr } = await run('cli', ['migrate'], {
      GALAXY_CONFIG_OVERRIDE_DATABASE_CONNECTION: 'postgresql://u@127.0.0.1:9/d',
    });
    expect(lines(stderr)).toHaveLength(1);
    expect(stderr).toMatch(/^lightcone: .*127\.0\.0\.1:9/);
    expect([code, stdout]).toEqual([1, '']);
  });
});

describe('on a SQLite file', () => {
  it('migrate makes the tables once', async () => {
    expect((await lightcone('migrate')).stdout).toContain('applied');
    expect((await lightcone('migrate')).stdout).toContain('is up to date');
  });

  it('user add prints an API key as the last word, and nothing else on standard error', async () => {
    const { code, stdout, stderr } = await lightcone('user', 'add', 'Alice@Example.org', '--admin');
    expect(stdout).toMatch(/^administrator alice@example\.org added, API key: [0-9a-f]{32}\n$/);
    expect(stderr).toBe('');
    expect(code).toBe(0);
  });

  it('users are listed, get a new key, lose it, and are removed', async () => {
    await lightcone('user', 'add', 'a@example.org', '--admin');
    expect((await lightcone('user', 'list')).stdout).toMatch(
      /^a@example\.org {2}administrator {2}key of 20\S+\n$/,
    );
    expect((await lightcone('user', 'key', 'A@example.org')).stdout).toMatch(/ [0-9a-f]{32}\n$/);
    expect((await lightcone('user', 'revoke', 'a@example.org')).code).toBe(0);
    expect((await lightcone('user', 'list')).stdout).toMatch(/ no key\n$/);
    expect((await lightcone('user', 'remove', 'a@example.org')).code).toBe(0);
    expect((await lightcone('user', 'list')).stdout).toContain('there is no user');
    const { code, stderr } = await lightcone('user', 'remove', 'a@example.org');
    expect([code, stderr]).toEqual([
      1,
      'lightcone: there is no user a@example.org; "lightcone user list" lists all\n',
    ]);
  });

  it('a user who is there already is not changed', async () => {
    await lightcone('user', 'add', 'a@example.org');
    const { code, stdout, stderr } = await lightcone('user', 'add', 'a@example.org');
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toBe(
      'lightcone: user a@example.org already exists; "lightcone user key a@example.org" creates a new API key\n',
    );
  });

  it('notify stores a broadcast, and refuses an unknown user', async () => {
    await lightcone('migrate');
    expect((await lightcone('notify', '--broadcast', 'Hi', 'all')).stdout).toContain('stored');
    const { code, stderr } = await lightcone('notify', '--user', 'nobody@example.org', 'Hi', 'you');
    expect([code, stderr]).toEqual([
      1,
      'lightcone: there is no user nobody@example.org; "lightcone user list" lists all\n',
    ]);
  });

  it('doctor tells one line per neighbour and what to do', async () => {
    const before = await lightcone('doctor');
    expect(before.stdout).toMatch(/^problem {2}database .* does not exist yet; run "lightcone migrate"/m);
    expect(before.code).toBe(1);
    await lightcone('migrate');
    // Not the port of a Lightcone that happens to run here.
    const after = await run('cli', ['doctor'], { LIGHTCONE_LISTEN: '127.0.0.1:9' });
    expect(lines(after.stdout).map((line) => line.split(/ +/).slice(0, 2).join(' '))).toEqual([
      'ok settings',
      'ok database',
      'ok schema',
      'ok triggers',
      'note election',
      'ok clock',
      'ok rows',
      'ok broker',
      'note worker',
    ]);
    expect(after.code).toBe(0);
  });

  it('doctor tells that neighbours cannot be reached, without passwords, and ends with 1', async () => {
    const { code, stdout } = await run('cli', ['doctor'], {
      GALAXY_CONFIG_OVERRIDE_DATABASE_CONNECTION: 'postgresql://u:hunter2@127.0.0.1:9/d',
      GALAXY_CONFIG_OVERRIDE_AMQP_INTERNAL_CONNECTION: 'amqp://u:hunter2@127.0.0.1:9//',
    });
    expect(stdout).toMatch(/^problem {2}database .*127\.0\.0\.1:9/m);
    expect(stdout).toMatch(/^problem {2}broker .*127\.0\.0\.1:9/m);
    expect(stdout).not.toContain('hunter2');
    expect(code).toBe(1);
  });
});
