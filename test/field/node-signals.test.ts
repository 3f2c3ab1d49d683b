/** What other people's programs met with signals under Node.js. Each test names its report. */
import { createConnection } from 'node:net';
import { afterEach, expect, it } from 'vitest';
import { Installation } from '../support/installation.js';

let here: Installation;
afterEach(() => here.close());

/** Where `--inspect` listens when nothing else is said. */
const INSPECTOR_PORT = 9229;
const inspectorAnswers = (): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = createConnection(INSPECTOR_PORT, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    }).on('error', () => resolve(false));
  });

// nodejs/node#19619: whether a listener for SIGUSR1 keeps the debugger closed depends on which of them came first.
it('SIGUSR1 during the start opens no debugger, and the start goes on', async () => {
  here = Installation.embedded();
  const service = here.process(['serve', '--demo']);
  await service.seen(() => service.lines[0], 'the first line of the log');
  for (let i = 0; i < 5; i += 1) service.signal('SIGUSR1');
  const stream = await here.stream(await service.address());
  await here.settled(service);
  await here.change(1);
  await stream.waitForHistory(here.encode(1));
  expect(service.stderr).not.toMatch(/debugger listening/i);
});

// nodejs/node#56441: apps on one host are told SIGUSR1 by mistake, and anybody there can debug them.
it('neither a supervisor nor its workers open a debugger', async () => {
  here = await Installation.production();
  const service = here.process(['serve', '--workers', '2']);
  await service.address();
  process.kill(-service.pid, 'SIGUSR1');
  const stream = await here.stream(await service.address(), '');
  expect(service.running).toBe(true);
  expect(service.stderr).not.toMatch(/debugger listening/i);
  expect(await inspectorAnswers()).toBe(false);
  stream.close();
});

// nodejs/help#4384: a proxy that reaches 127.0.0.1 reaches the debugger that `htop` has opened with SIGUSR1.
it('a standalone monitor opens no debugger either, and ends properly afterwards', async () => {
  here = await Installation.production();
  await (await here.worker()).stop();
  const monitor = here.process(['monitor']);
  await monitor.seen(() => monitor.lines[0], 'the first line of the log');
  monitor.signal('SIGUSR1');
  monitor.signal('SIGUSR2');
  await monitor.line('leading');
  expect(await inspectorAnswers()).toBe(false);
  monitor.signal('SIGTERM');
  expect(await monitor.exited).toEqual({ code: 0, signal: null });
});
