/** What other people's services met when systemd starts them. Each test names its report. */
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { resolve } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { freePort } from '../support/free-port.js';
import { Installation } from '../support/installation.js';
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
