/** What the libraries with which Galaxy reads its settings make of a value: Debian's own packages, asked in one process. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { locate } from './programs.js';

const SCRIPT = `
import json, os, sys
def database(url):
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool
    with create_engine(url, poolclass=NullPool).connect() as c:
        return list(c.exec_driver_sql("SELECT current_user, current_database(), (SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), current_setting('port')").first())
def database_options(url):
    from sqlalchemy.engine import make_url
    u = make_url(url)
    return u.get_dialect()().create_connect_args(u)[1]
def broker(url):
    from kombu import Connection
    with Connection(url, connect_timeout=5) as c:
        c.ensure_connection(max_retries=1, timeout=6)
        return type(c.connection.transport).__name__
def broker_options(url):
    from kombu import Connection
    c = Connection(url)
    tls = bool(c.ssl) or url.lower().startswith('amqps')
    return [c.hostname or 'localhost', c.port or (5671 if tls else 5672), c.userid or 'guest', c.password or 'guest', c.virtual_host or '/', tls]
def yaml(text):
    from yaml import safe_load
    return [None if v is None else [type(v).__name__, str(v)] for v in safe_load(text)['galaxy'].values()]
answers = []
for question in json.loads(sys.argv[1]):
    old = dict(os.environ)
    os.environ.update(question.get('env', {}))
    try:
        answers.append({'ok': globals()[question['ask']](question['value'])})
    except Exception as e:
        answers.append({'error': type(e).__name__ + ': ' + str(e)})
    for name in question.get('env', {}):
        os.environ.pop(name)
    os.environ.update(old)
print(json.dumps(answers))
`;

export interface Question {
  ask: 'database' | 'database_options' | 'broker' | 'broker_options' | 'yaml';
  value: string;
  env?: Record<string, string>;
}

export type Answer<T = unknown> = { ok: T; error?: undefined } | { ok?: undefined; error: string };

export async function askLibraries(questions: readonly Question[]): Promise<Answer<never>[]> {
  const [python] = [
    locate('python3-kombu'),
    locate('python3-psycopg2'),
    locate('python3-sqlalchemy'),
    locate('python3-yaml'),
  ];
  const { stdout } = await promisify(execFile)(python, ['-c', SCRIPT, JSON.stringify(questions)], {
    env: { PATH: process.env.PATH, LANG: 'C.UTF-8', HOME: '/nonexistent' },
  });
  return JSON.parse(stdout) as Answer<never>[];
}
