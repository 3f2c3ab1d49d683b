import { execFile, spawn } from 'node:child_process';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { eventually } from '../support/databases.js';
import { DEMO, Installation } from '../support/installation.js';
import { locate } from '../support/programs.js';
import { historyIds, type SseClient } from '../support/sse-client.js';

let here: Installation;
beforeEach(() => {
  here = Installation.embedded();
});
afterEach(() => here.close());

const { alice, bob, anonymous } = DEMO.histories;
/** The histories that a stream was told of, as row ids. */
const told = (client: SseClient): Set<number> =>
  new Set(
    client.events('history_update').flatMap((frame) => historyIds(frame).map((id) => here.ids.decodeId(id)!)),
  );

describe('a change made by another program', () => {
  it('reaches its owner and nobody else', async () => {
    const { url } = await here.worker();
    const cookie = await here.cookieOf(DEMO.anonymousSession);
    const [ofAlice, ofBob, ofNobody, ofSession] = await Promise.all([
      here.stream(url, 'key=demo-alice'),
      here.stream(url, 'key=demo-bob'),
      here.stream(url, ''),
      here.stream(url, '', { headers: cookie }),
    ]);
    for (const id of [alice, bob, anonymous]) await here.change(id);
    await ofAlice.waitForHistory(here.encode(alice));
    await ofBob.waitForHistory(here.encode(bob));
    await ofSession.waitForHistory(here.encode(anonymous));
    expect(told(ofAlice)).toEqual(new Set([alice]));
    expect(told(ofBob)).toEqual(new Set([bob]));
    expect(told(ofSession)).toEqual(new Set([anonymous]));
    expect(told(ofNobody)).toEqual(new Set());
  });

  it('is told with the time of the change', async () => {
    const { url } = await here.worker();
    const stream = await here.stream(url);
    await here.change(alice);
    const frame = await stream.waitForHistory(here.encode(alice));
    const [row] = await here.sql<{ newest: string }>(
      `SELECT max(update_time) AS newest FROM history_audit WHERE history_id = ${alice}`,
    );
    expect(JSON.parse(frame.data!)).toEqual({
      history_ids: [here.encode(alice)],
      update_time: `${row!.newest.replace(' ', 'T')}000`,
      since: { [here.encode(alice)]: expect.stringMatching(/^[0-9a-f]{8}\.[0-9a-z]{10}$/) },
    });
  });

  it('comes through a burst of 200 in one second as 2 to 7 events, the last soon after the last change', async () => {
    const { url } = await here.worker();
    const stream = await here.stream(url);
    // One program, as a job that writes: five milliseconds between two changes.
    const script = `
      const db = new (require('better-sqlite3'))(process.argv[1]);
      const change = db.prepare("UPDATE history SET name = ? WHERE id = ${alice}");
      const begin = Date.now();
      let n = 0;
      setInterval(() => {
        for (; n < 200 && Date.now() - begin >= n * 5; n += 1) change.run('burst ' + n);
        if (n === 200) { console.log(Date.now() - begin); process.exit(); }
      }, 1);`;
    const { stdout } = await promisify(execFile)(process.execPath, [
      '-e',
      script,
      `${here.folder}/lightcone.sqlite`,
    ]);
    const lastChange = performance.now();
    expect(Number(stdout)).toBeLessThan(1300);
    const [row] = await here.sql<{ newest: string }>(
      `SELECT max(update_time) AS newest FROM history_audit WHERE history_id = ${alice}`,
    );
    const last = await stream.waitFor(
      (frame) => frame.data?.includes(row!.newest.replace(' ', 'T')) === true,
    );
    expect(last.at - lastChange).toBeLessThan(300);
    const events = stream.events('history_update');
    expect(events.length).toBeGreaterThanOrEqual(2);
    expect(events.length).toBeLessThanOrEqual(7);
  });
});

describe('lightcone serve --demo', () => {
  it('prints lines that work when they are pasted into two terminals', async () => {
    locate('curl');
    const service = here.process(['serve', '--demo']);
    const [change] = await service.seen(
      () => /^ {2}(id=.*)$/m.exec(service.stdout)?.slice(1),
      'the line that makes a change',
    );
    const stream = /^ {2}(curl -N .*)$/m.exec(service.stdout)![1]!;
    const sqlite = /^ {2}(sqlite3 .*)$/m.exec(service.stdout)![1]!;
    expect(stream).toMatch(/^curl -N 'http:\/\/127\.0\.0\.1:\d+\/api\/events\/stream\?key=demo-alice'$/);

    const terminal = paste(stream);
    const updates = (): number => terminal.output.match(/^event: history_update$/gm)?.length ?? 0;
    await eventually(() => terminal.output.includes('event: ready\n'), { what: 'ready' });
    // What was written before the stream was opened (the demo data itself) is told once more by the new monitor.
    await here.settled(service);
    const before = updates();
    await paste(change!).ended;
    await eventually(() => updates() === before + 1, { what: 'the event of the change by curl' });
    expect(terminal.output).toContain(here.encode(alice));
    await paste(sqlite).ended;
    await eventually(() => updates() === before + 2, { what: 'the event of the change by sqlite3' });
    terminal.kill();
  });

  it('serves the demo page', async () => {
    const service = here.process(['serve', '--demo']);
    const response = await fetch(await service.address());
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toContain('text/html');
  });
});

/** A line in a terminal: bash runs it. */
function paste(line: string): { readonly output: string; ended: Promise<void>; kill(): void } {
  const child = spawn('bash', ['-c', line], { cwd: here.folder, stdio: ['ignore', 'pipe', 'ignore'] });
  const terminal = {
    output: '',
    ended: new Promise<void>((resolve) => child.once('close', () => resolve())),
    kill: () => child.kill(),
  };
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    terminal.output += text;
  });
  return terminal;
}

describe('a second process on one database file', () => {
  it('ends with one line that says which one holds it, and starts once that one is gone', async () => {
    const first = here.process(['serve', '--demo']);
    await first.address();
    const second = here.process(['serve', '--demo']);
    expect((await second.exited).code).toBe(75);
    expect(second.stderr.split('\n').filter((line) => line.startsWith('lightcone: '))).toEqual([
      expect.stringMatching(
        new RegExp(
          `^lightcone: sqlite:///\\S+ is served by process ${first.pid} on \\S+ already; stop it, or`,
        ),
      ),
    ]);
    expect((await fetch(`${await first.address()}/readyz`)).status).toBe(200);
    await first.kill();
    const third = here.process(['serve']);
    const stream = await here.stream(await third.address());
    await here.settled(third);
    await here.change(alice);
    await stream.waitForHistory(here.encode(alice));
  });
});
