/**
 * Every program and library outside npm that a test leans on, one line each. Who uses one calls `locate` with its name; a
 * test run reads from its files' text which ones it needs, and has them all before its first test, or does not begin.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { delimiter, join } from 'node:path';

interface Program {
  /** Debian's. */
  package: string;
  /** Environment variables that stand in for it: the path of another one; or, all set, where a running one answers. */
  variables: readonly string[];
  /** @returns its path */
  find(): string | undefined;
}

const PROGRAMS = {
  postgresql: binary('postgresql', ['postgres'], ['TEST_DATABASE_URL'], postgresFolders),
  'rabbitmq-server': binary(
    'rabbitmq-server',
    ['rabbitmq-server'],
    ['TEST_AMQP_URL', 'TEST_RABBITMQ_MANAGEMENT_URL'],
    () => ['/usr/lib/rabbitmq/bin'],
  ),
  nginx: binary('nginx-light', ['nginx'], ['NGINX']),
  haproxy: binary('haproxy', ['haproxy']),
  apache2: binary('apache2', ['apache2']),
  pgbouncer: binary('pgbouncer', ['pgbouncer']),
  chromium: binary('chromium', ['chromium', 'chromium-browser', 'google-chrome'], ['CHROMIUM']),
  firefox: binary('firefox-esr', ['firefox-esr', 'firefox'], ['FIREFOX']),
  'webkit2gtk-driver': binary('webkit2gtk-driver', ['WebKitWebDriver']),
  'webkit2gtk-browser': binary('webkit2gtk-driver', ['MiniBrowser'], [], webkitFolders),
  xvfb: binary('xvfb', ['Xvfb']),
  sqlite3: binary('sqlite3', ['sqlite3'], ['SQLITE3']),
  curl: binary('curl', ['curl']),
  python3: binary('python3', ['python3']),
  openssl: binary('openssl', ['openssl']),
  'python3-kombu': pythonModule('kombu'),
  'python3-psycopg2': pythonModule('psycopg2'),
  'python3-sqlalchemy': pythonModule('sqlalchemy'),
  'python3-yaml': pythonModule('yaml'),
} satisfies Record<string, Program>;

export type ProgramName = keyof typeof PROGRAMS;

/**
 * Where a program is. For a Python library: the Python that has it.
 *
 * @throws MissingProgramsError
 */
export function locate(name: ProgramName): string {
  const found = PROGRAMS[name].find();
  if (found === undefined) throw new MissingProgramsError([PROGRAMS[name]]);
  return found;
}

/** Whether its variables say where one runs, which is then used instead of a private one. */
export const runsElsewhere = (name: ProgramName): boolean => isServed(PROGRAMS[name]);

function isServed({ variables }: Program): boolean {
  return variables.length > 0 && variables.every((name) => /^\w+:\/\//.test(process.env[name] ?? ''));
}

/**
 * Installs with apt, in one go, what is missing of these and may be installed.
 *
 * @throws MissingProgramsError with everything that is still missing
 */
export function provide(names: Iterable<string>): void {
  const wanted = missingOf(names);
  if (wanted.length === 0) return;
  let refusal: string | undefined;
  if (process.getuid?.() === 0 && existsSync('/usr/bin/apt-get')) {
    console.log(`Installing what the tests need and this machine lacks: ${packagesOf(wanted).join(' ')}`);
    refusal = install(packagesOf(wanted));
  }
  const left = missingOf(names);
  if (left.length > 0) throw new MissingProgramsError(left, refusal);
}

export class MissingProgramsError extends Error {
  constructor(missing: readonly Program[], refusal?: string) {
    const lines = missing.map(({ package: name, variables }) =>
      variables.length > 0 ? `  ${name} (or set ${variables.join(' and ')})` : `  ${name}`,
    );
    super(
      [
        'The tests need programs that this machine lacks. Their Debian packages:',
        ...lines,
        ...(refusal ? [`apt-get did not install them: ${refusal}`] : []),
        'One command installs them all:',
        `  sudo apt-get install -y --no-install-recommends ${packagesOf(missing).join(' ')}`,
        'The unit tests need none of them: npm run test:unit',
      ].join('\n'),
    );
    this.name = 'MissingProgramsError';
  }
}

function missingOf(names: Iterable<string>): Program[] {
  return [...names]
    .map((name): Program => {
      const program: Program | undefined = (PROGRAMS as Record<string, Program>)[name];
      if (!program) throw new Error(`test/support/programs.ts has no line for "${name}"`);
      return program;
    })
    .filter((program) => !isServed(program) && program.find() === undefined);
}

const packagesOf = (programs: readonly Program[]): string[] => [
  ...new Set(programs.map((program) => program.package)),
];

/** @returns why not, in apt-get's words */
function install(packages: readonly string[]): string | undefined {
  // In run level 1 Debian does not start the servers that it installs: the tests run their own.
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' };
  const apt = (...args: string[]) =>
    execFileSync('apt-get', args, { env, stdio: ['ignore', 'ignore', 'pipe'], timeout: 900_000 });
  try {
    apt('update', '-qq');
    apt('install', '-y', '-qq', '--no-install-recommends', ...packages);
    return undefined;
  } catch (error) {
    const { stderr, message } = error as Error & { stderr?: Buffer };
    return stderr?.toString().trim().split('\n').at(-1) || message;
  }
}

function binary(
  name: string,
  files: readonly string[],
  variables: readonly string[] = [],
  folders: () => readonly string[] = () => [],
): Program {
  const find = () => {
    const named = variables.length === 1 ? process.env[variables[0]!] : undefined;
    if (named?.startsWith('/')) return existsSync(named) ? named : undefined;
    const path = (process.env.PATH ?? '').split(delimiter);
    return [...folders(), '/usr/sbin', '/usr/bin', '/usr/local/sbin', '/usr/local/bin', ...path]
      .flatMap((folder) => files.map((file) => join(folder, file)))
      .find((file) => existsSync(file));
  };
  return { package: name, variables, find };
}

/** Of Debian's own Python, whatever Python is first on PATH. */
function pythonModule(module: string, name = `python3-${module}`): Program {
  const python = '/usr/bin/python3';
  const program = `import importlib.util, sys; sys.exit(importlib.util.find_spec('${module}') is None)`;
  const find = () => {
    try {
      execFileSync(python, ['-c', program], { stdio: 'ignore' });
      return python;
    } catch {
      return undefined;
    }
  };
  return { package: name, variables: [], find };
}

/** Debian keeps PostgreSQL's server out of PATH; the newest version first. */
function postgresFolders(): string[] {
  const root = '/usr/lib/postgresql';
  return (existsSync(root) ? readdirSync(root) : [])
    .sort((a, b) => Number.parseFloat(b) - Number.parseFloat(a))
    .map((version) => join(root, version, 'bin'));
}

/** Its small browser comes with the library, and is not in PATH. */
function webkitFolders(): string[] {
  const root = '/usr/lib';
  return readdirSync(root).map((architecture) => join(root, architecture, 'webkit2gtk-4.1'));
}
