import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { freePort } from '../support/free-port.js';
import { locate } from '../support/programs.js';

const SHIPPED = resolve(import.meta.dirname, '../../nginx');
let directory: string;
let port: number;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'lightcone-nginx-'));
  mkdirSync(join(directory, 'lightcone'));
  cpSync(SHIPPED, join(directory, 'lightcone'), { recursive: true });
  port = await freePort();
});
afterEach(() => rmSync(directory, { recursive: true }));

/** `nginx -t` on a configuration with these lines in its http {} block. */
function check(http: string): string {
  const file = join(directory, 'nginx.conf');
  writeFileSync(
    file,
    `pid ${directory}/nginx.pid;\nerror_log stderr;\nevents {}\nhttp {\naccess_log off;\n${[
      'client_body',
      'proxy',
      'fastcgi',
      'uwsgi',
      'scgi',
    ]
      .map((kind) => `${kind}_temp_path ${directory}/${kind};`)
      .join('\n')}\n${http}\n}\n`,
  );
  try {
    execFileSync(locate('nginx'), ['-t', '-q', '-p', directory, '-c', file], {
      encoding: 'utf8',
      stdio: 'pipe',
    });
    return '';
  } catch (error) {
    return (error as { stderr: string }).stderr;
  }
}

describe("Debian's nginx loads", () => {
  it.each(['upstream.conf', 'upstream-unix.conf'])('the whole site, with %s', (upstream) => {
    const site = join(directory, 'lightcone/server.conf');
    writeFileSync(site, readFileSync(site, 'utf8').replace('listen 80;', `listen 127.0.0.1:${port};`));
    expect(check(`include lightcone/${upstream};\ninclude lightcone/server.conf;`)).toBe('');
  });

  it.each(['location.conf', 'location-prefix.conf'])("%s inside Galaxy's server block", (location) => {
    const server = `server {\nlisten 127.0.0.1:${port};\ninclude lightcone/${location};\nlocation / { return 404; }\n}`;
    expect(check(`include lightcone/upstream.conf;\n${server}`)).toBe('');
  });

  it('nothing that is wrong (so that this test can fail)', () => {
    expect(check('include lightcone/location.conf;')).toContain('"location" directive is not allowed here');
  });
});

describe('the stream is proxied', () => {
  const stream = readFileSync(join(SHIPPED, 'stream.conf'), 'utf8');
  it.each([
    'proxy_buffering off;',
    'proxy_cache off;',
    'gzip off;',
    'proxy_http_version 1.1;',
    'proxy_set_header Connection "";',
    'proxy_read_timeout 1h;',
    'proxy_send_timeout 1h;',
  ])('with %s', (directive) => {
    expect(stream).toMatch(new RegExp(`^${directive}$`, 'm'));
  });

  it.each(['server.conf', 'location.conf', 'location-prefix.conf'])('so in %s', (file) => {
    const text = readFileSync(join(SHIPPED, file), 'utf8');
    expect(text).toMatch(
      /location (\/galaxy)?\/api\/events\/ \{\s+proxy_pass http:\/\/lightcone;\s+include lightcone\/stream\.conf;\s+\}/,
    );
  });
});
