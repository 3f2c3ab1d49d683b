import { spawn } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { launchChromium } from '../support/chromium.js';
import { eventually } from '../support/databases.js';
import { freePort } from '../support/free-port.js';
import { DEMO, Installation } from '../support/installation.js';
import { locate } from '../support/programs.js';

const SHIPPED = resolve(import.meta.dirname, '../../nginx');
const { alice } = DEMO.histories;
let here: Installation;
let stopNginx: () => Promise<void> = async () => {};

afterEach(async () => {
  await stopNginx();
  stopNginx = async () => {};
  await here.close();
});

/** Debian's nginx with the shipped files and these lines in http {}. @returns its URL */
async function startNginx(edit: (file: string, text: string) => string, http: string): Promise<string> {
  const home = mkdtempSync(join(tmpdir(), 'lightcone-nginx-'));
  // As root, nginx serves as `nobody`, who must get in.
  chmodSync(home, 0o755);
  cpSync(SHIPPED, join(home, 'lightcone'), { recursive: true });
  const port = await freePort();
  for (const file of ['server.conf', 'upstream.conf', 'upstream-unix.conf']) {
    const path = join(home, 'lightcone', file);
    writeFileSync(
      path,
      edit(file, readFileSync(path, 'utf8')).replace('listen 80;', `listen 127.0.0.1:${port};`),
    );
  }
  mkdirSync(join(home, 'temp'));
  const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((kind) => `${kind}_temp_path ${home}/temp/${kind};`)
    .join('\n');
  const config = join(home, 'nginx.conf');
  writeFileSync(
    config,
    `daemon off;\nworker_processes 1;\npid ${home}/nginx.pid;\nerror_log ${home}/error.log;\nevents {}\nhttp {\naccess_log off;\n${temp}\n${http.replace('PORT', String(port))}\n}\n`,
  );
  const child = spawn(locate('nginx'), ['-p', home, '-c', config], { stdio: 'ignore' });
  const ended = new Promise((done) => child.once('exit', done));
  stopNginx = async () => {
    child.kill('SIGTERM');
    await ended;
    rmSync(home, { recursive: true, force: true });
  };
  const url = `http://127.0.0.1:${port}`;
  await eventually(
    async () => {
      if (child.exitCode !== null) throw new Error(readFileSync(join(home, 'error.log'), 'utf8'));
      return fetch(url).then(
        () => true,
        () => false,
      );
    },
    { what: 'nginx' },
  );
  return url;
}

const site = (upstream: string) => `include lightcone/${upstream};\ninclude lightcone/server.conf;`;
const behind =
  (address: string) =>
  (_file: string, text: string): string =>
    text
      .replace('server 127.0.0.1:8080;', `server ${address};`)
      .replace('server unix:/run/lightcone/lightcone.sock;', `server ${address};`);

describe("behind Debian's nginx", () => {
  it('the page of an installation says that it takes new streams, although /readyz is not passed on', async () => {
    here = Installation.embedded();
    const worker = here.process(['serve', '--listen', '127.0.0.1:0']);
    const url = await startNginx(behind(new URL(await worker.address()).host), site('upstream.conf'));
    expect((await fetch(`${url}/readyz`)).status).toBe(404);
    const browser = await launchChromium();
    try {
      const page = await browser.newPage();
      const complaints: string[] = [];
      page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
      await page.goto(url);
      await page.getByText('It takes new streams.').waitFor({ timeout: 10_000 });
      expect(complaints).toEqual([]);
    } finally {
      await browser.close();
    }
  });

  it('a change arrives unbuffered, the stream survives 45 s of silence, and Last-Event-ID gets through', {
    timeout: 90_000,
  }, async () => {
    here = Installation.embedded();
    const { url: worker } = await here.worker({ galaxy: { enable_notification_system: true } });
    const url = await startNginx(behind(new URL(worker).host), site('upstream.conf'));
    const stream = await here.stream(url);
    expect(stream.headers['content-type']).toBe('text/event-stream');
    for (let round = 0; round < 5; round += 1) {
      const from = stream.frames.length;
      const at = await here.change(alice);
      const frame = await stream.waitForHistory(here.encode(alice), { from });
      // From before the sqlite3 program was started.
      expect(frame.at - at).toBeLessThan(200);
      await new Promise((done) => setTimeout(done, 250));
    }

    // Nothing is said to this stream for 45 s but the keepalive, and that not before 30 s.
    const silent = await here.stream(url, 'key=demo-bob');
    const began = performance.now();
    const quietFrom = silent.frames.length;
    await new Promise((done) => setTimeout(done, 45_000));
    expect(silent.frames.slice(quietFrom).map((frame) => frame.comments)).toEqual([['keepalive']]);
    expect(silent.frames.at(-1)!.at - began).toBeGreaterThan(28_000);
    const before = await here.change(DEMO.histories.bob);
    const frame = await silent.waitForHistory(here.encode(DEMO.histories.bob), { from: quietFrom });
    expect(frame.at - before).toBeLessThan(200);

    const { lastEventId } = silent;
    silent.close();
    await here.change(DEMO.histories.bob);
    const again = await here.stream(url, 'key=demo-bob', { lastEventId: lastEventId! });
    const status = await again.waitFor(({ event }) => event === 'notification_status');
    expect(status.id).toBe(lastEventId);
    await again.waitForHistory(here.encode(DEMO.histories.bob));
  });

  it('over a unix socket, with a cookie and a subscription', async () => {
    here = Installation.embedded();
    chmodSync(here.folder, 0o755);
    const path = join(here.folder, 'lightcone.sock');
    await here.worker({ sse: { listen: `unix:${path}`, socket_mode: '0666' } });
    const url = await startNginx(behind(`unix:${path}`), site('upstream-unix.conf'));
    const headers = await here.cookieOf(DEMO.anonymousSession);
    const stream = await here.stream(url, '', { headers });
    const at = await here.change(DEMO.histories.anonymous);
    const frame = await stream.waitForHistory(here.encode(DEMO.histories.anonymous));
    expect(frame.at - at).toBeLessThan(200);
    await here.sql(`UPDATE history SET published = true WHERE id = ${alice}`);
    const answer = await fetch(`${url}/api/events/history-subscriptions`, {
      method: 'POST',
      headers: { ...headers, 'content-type': 'application/json' },
      body: JSON.stringify({ history_ids: [here.encode(alice)] }),
    });
    expect(answer.status).toBe(204);
    await here.change(alice);
    await stream.waitForHistory(here.encode(alice));
  });

  it.each([
    ['location.conf', ''],
    ['location-prefix.conf', '/galaxy'],
  ])("inside Galaxy's own server block (%s)", async (location, prefix) => {
    here = Installation.embedded();
    const { url: worker } = await here.worker({ galaxy: { galaxy_url_prefix: prefix || '/' } });
    const url = await startNginx(
      behind(new URL(worker).host),
      `include lightcone/upstream.conf;\nserver {\nlisten 127.0.0.1:PORT;\ninclude lightcone/${location};\nlocation / { return 418; }\n}`,
    );
    const stream = await here.stream(`${url}${prefix}`);
    await here.change(alice);
    await stream.waitForHistory(here.encode(alice));
    expect((await fetch(`${url}/api/version`)).status).toBe(418);
  });
});
