/** Signals that are not meant as an end, and what a start that cannot be ends with. */

import { readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { Installation } from '../support/installation.js';

let here: Installation;
afterEach(() => here.close());

describe.each(['SIGUSR1', 'SIGUSR2', 'SIGPIPE', 'SIGHUP'] as const)('%s', (signal) => {
  it('neither ends a worker nor opens a debugger', async () => {
    here = Installation.embedded();
    const service = here.process(['serve', '--demo']);
    const address = await service.address();
    const stream = await here.stream(address);
    await here.settled(service);
    service.signal(signal);
    await here.change(1);
    await stream.waitForHistory(here.encode(1));
    expect(service.running).toBe(true);
    expect(service.stderr).not.toMatch(/debugger/i);
  });
});

describe('a start that cannot be now ends with 75', () => {
  const refused = async (
    args: string[],
    installation = Installation.embedded(),
  ): Promise<[number | null, string]> => {
    here = installation;
    const service = here.process(args);
    return [(await service.exited).code, service.stderr];
  };

  it.each([
    ['an address that no interface has (yet)', '192.0.2.77:8080'],
    ['a name that does not resolve (yet)', 'lightcone.invalid:8080'],
    ['a folder that is not there (yet)', 'unix:/run/lightcone-of-no-one/sock'],
  ])('%s', async (_, listen) => {
    const [code, text] = await refused(['serve', '--listen', listen]);
    expect([code, text]).toEqual([
      75,
      expect.stringContaining(`cannot listen on ${listen.replace('unix:', '')}`),
    ]);
  });

  it.each([
    ['a worker alone', []],
    ['two workers, and the supervisor says so', ['--workers', '2']],
  ])('a port that another program has: %s', async (_, flags) => {
    const other = createServer().listen(0, '127.0.0.1');
    try {
      await new Promise((resolve) => other.once('listening', resolve));
      const listen = `127.0.0.1:${(other.address() as AddressInfo).port}`;
      const [code, text] = await refused(
        ['serve', ...flags, '--listen', listen],
        await Installation.production(),
      );
      expect([code, text]).toEqual([
        75,
        expect.stringContaining(`cannot listen on ${listen}: another process does`),
      ]);
      if (flags.length > 0) expect(text).toContain('the address is not available now');
    } finally {
      other.close();
    }
  });
});

describe('a start that is wrongly asked for ends with 2', () => {
  it('a setting, and the supervisor says that it is one', async () => {
    here = Installation.embedded();
    const service = here.process(['serve', '--keepalive-interval', '-1']);
    expect((await service.exited).code).toBe(2);
  });
});

it('a process is told from other programs of Node.js by its name, and from others of its own by its command line', async () => {
  here = Installation.embedded();
  const service = here.process(['serve', '--demo']);
  await service.address();
  const shown = (file: string) => readFileSync(`/proc/${service.pid}/${file}`, 'latin1');
  expect(shown('comm')).toBe('lightcone-node\n');
  expect(shown('cmdline')).toContain('serve\0--demo');
});
