import { describe, expect, it, vi } from 'vitest';
import { MetricsServer } from '../../src/app/processes/metrics-server.js';
import { Releasers } from '../../src/lib/lifecycle.js';

describe('releasers', () => {
  it('release what was added, last first, and go on behind one that fails', async () => {
    const releasers = new Releasers();
    const said: string[] = [];
    for (const name of ['a', 'b', 'c']) {
      releasers.add(name, () => {
        said.push(name);
        if (name === 'b') throw new Error('no');
      });
    }
    releasers.throwIfReleased();
    await releasers.release((name, error) => said.push(`${name}: ${(error as Error).message}`));
    expect(said).toEqual(['c', 'b', 'b: no', 'a']);
  });

  it('release at once what a start adds that does not know of the stop, and end that start', async () => {
    const releasers = new Releasers();
    const said: string[] = [];
    await releasers.release((name) => said.push(`${name} failed`));
    expect(() => releasers.add('lock', () => said.push('lock'))).toThrow('stopped while it was starting');
    expect(() => releasers.add('bus', () => Promise.reject(new Error('no')))).toThrow();
    await new Promise(setImmediate);
    expect(said).toEqual(['lock', 'bus failed']);
    expect(() => releasers.throwIfReleased()).toThrow('stopped while it was starting');
  });
});

it('an address for metrics that is stopped while it is being taken is free again', async () => {
  const server = new MetricsServer(
    { kind: 'tcp', host: '127.0.0.1', port: 0 },
    '--metrics-listen',
    async () => [],
  );
  const started = server.start();
  await server.stop();
  await started;
  await vi.waitFor(() => expect(process.getActiveResourcesInfo()).not.toContain('TCPServerWrap'));
});
