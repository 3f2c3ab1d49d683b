/** What other people's services met when systemd starts them. Each test names its report. */
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { resolve } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { freePort } from '../support/free-port.js';
import { DEMO, Installation } from '../support/installation.js';
import { TcpProxy } from '../support/tcp-proxy.js';

let here: Installation | undefined;
afterEach(async () => {
  await here?.close();
  here = undefined;
});

const unit = (name: string): string =>
  readFileSync(resolve(import.meta.dirname, `../../deploy/systemd/${name}.service`), 'utf8');
/** The exit codes that are not tried again. */
const givenUp = (text: string): number[] =>
  (/^RestartPreventExitStatus=(.*)$/m.exec(text)?.[1] ?? '').split(/\s+/).map(Number);

// nextcloud/notify_push#358: "Start request repeated too quickly", and the service stays away after every boot.
// freenet/freenet-core#3177: the port is taken, and the unit is restarted for ever, or is given up for ever.
describe.each(['lightcone', 'lightcone-monitor'])('%s.service', (name) => {
  it('is started again after every failure but wrong settings, and is never given up', () => {
    const text = unit(name);
    expect(text).toMatch(/^StartLimitIntervalSec=0$/m);
    expect(text).toMatch(/^Restart=on-failure$/m);
    expect(givenUp(text)).toEqual([2]);
    expect(text).toMatch(/^Wants=network-online\.target$/m);
  });
});

// ohwgiles/laminar#85: "Cannot assign requested address" at boot, since the network is late; the service stays dead.
it('an address that is not there yet ends the start with a code that is tried again, and a line that says why', async () => {
  here = Installation.embedded();
  const service = here.process(['serve', '--listen', '192.0.2.77:9997']);
  const { code } = await service.exited;
  expect(code).toBe(75);
  expect(givenUp(unit('lightcone'))).not.toContain(code);
  expect(service.stderr).toContain('cannot listen on 192.0.2.77:9997');
});

// freenet/freenet-core#3177: somebody has started the program by hand beside the unit.
it('a port that another program has costs a start each two seconds until it is free, and then it serves', async () => {
  here = Installation.embedded();
  const port = await freePort();
  const listen = `127.0.0.1:${port}`;
  const other = createServer().listen(port, '127.0.0.1');
  await new Promise((listening) => other.once('listening', listening));
  for (let start = 0; start < 2; start += 1) {
    const service = here.process(['serve', '--demo', '--listen', listen]);
    expect((await service.exited).code).toBe(75);
    expect(service.stderr).toContain(`cannot listen on ${listen}: another process does`);
  }
  await new Promise((closed) => other.close(closed));
  await here.stream(await here.process(['serve', '--demo', '--listen', listen]).address());
});

// nextcloud/notify_push#358: everything the service needs is started in the same minute.
it('a database that comes after the service is waited for; the service does not end, and is ready then', async () => {
  here = await Installation.production();
  const direct = here.galaxy.database_connection as string;
  const proxy = await TcpProxy.to(direct);
  try {
    await proxy.refuse();
    const service = here.process(['serve', '--demo'], {
      galaxy: { database_connection: proxy.through(direct) },
    });
    await service.seen(() => service.lines.find(({ level }) => Number(level) >= 40), 'a warning');
    await proxy.resume();
    await here.stream(await service.address(30_000));
    expect(service.running).toBe(true);
  } finally {
    await here.stopWorkers();
    await proxy.close();
  }
});

/** As systemd does it with `KillMode=control-group`, a terminal with Ctrl-C, supervisord with `stopasgroup`. */
const toAll = ({ pid }: { pid: number }, signal: NodeJS.Signals) => process.kill(-pid, signal);
const TWO = { sse: { workers: 2 } };

// sensu/sensu-build#51, ParadoxAlarmInterface/pai#156: a stop sends SIGTERM to every process of the unit, not to the main one only.
it('a stop that reaches supervisor and workers at the same time ends streams properly, and no worker breaks off', async () => {
  here = await Installation.production();
  const service = here.process(['serve', '--demo'], TWO);
  const streams = await Promise.all(
    Array.from({ length: 8 }, async () => here!.stream(await service.address())),
  );
  toAll(service, 'SIGTERM');
  expect(await service.exited).toEqual({ code: 0, signal: null });
  expect(await Promise.all(streams.map((stream) => stream.ended()))).toEqual(streams.map(() => 'end'));
  expect(service.stderr).not.toMatch(/second signal|worker exited/);
});

// gitmoot/gitmoot#1820: `systemctl kill -s HUP` reaches every process of the unit; the main one goes on, the others are gone.
it('a reload that reaches supervisor and workers at the same time is one rolling restart', async () => {
  here = await Installation.production();
  const service = here.process(['serve', '--demo'], TWO);
  await here.stream(await service.address());
  toAll(service, 'SIGHUP');
  await service.line('rolling restart done', 60_000);
  expect(service.stderr).not.toMatch(/worker exited|SIGHUP ignored/);
  await here.stream(await service.address());
}, 90_000);

// systemd/systemd#34042: SIGHUP from ExecReload is taken as the end of the service.
it.each([['serve', '--demo'], ['monitor']])('%s goes on after SIGHUP', async (...args) => {
  here = await Installation.production();
  const first = here.process(['serve', '--demo']);
  const stream = await here.stream(await first.address());
  const service = args[0] === 'serve' ? first : here.process(args);
  if (service !== first) await service.line('leading: this process is the monitor', 30_000);
  service.signal('SIGHUP');
  await service.line('SIGHUP ignored');
  const from = stream.frames.length;
  await here.change(DEMO.histories.alice);
  await stream.waitForHistory(here.encode(DEMO.histories.alice), { from });
  expect(service.running).toBe(true);
});
