/** How the files of deploy/ confine the service. */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';

const deploy = resolve(import.meta.dirname, '../../deploy');

describe('systemd', () => {
  it.each(['lightcone.service', 'lightcone-monitor.service'])(
    'rates the exposure of %s below 2.0',
    async (unit) => {
      const { stdout } = await promisify(execFile)('systemd-analyze', [
        'security',
        '--offline=yes',
        `${deploy}/systemd/${unit}`,
      ]);
      const [, exposure] = /Overall exposure level for \S+: (\d+\.\d+)/.exec(stdout) ?? [];
      expect(Number(exposure)).toBeGreaterThan(0);
      expect(Number(exposure)).toBeLessThan(2);
    },
  );
});

describe('the container', () => {
  it('runs as nobody special, on a read-only file system, and gains nothing', () => {
    const dockerfile = readFileSync(`${deploy}/Dockerfile`, 'utf8');
    expect(dockerfile.split('\n').filter((line) => line.startsWith('USER '))).toEqual(['USER node']);
    const { services } = parse(readFileSync(`${deploy}/compose/compose.yml`, 'utf8'), { merge: true });
    for (const name of ['worker-1', 'worker-2', 'monitor']) {
      expect(services[name]).toMatchObject({
        read_only: true,
        cap_drop: ['ALL'],
        security_opt: ['no-new-privileges:true'],
      });
      // Only nginx is reached from outside, since whoever reaches a worker is believed to be a proxy.
      expect(services[name].ports).toBeUndefined();
    }
  });
});
