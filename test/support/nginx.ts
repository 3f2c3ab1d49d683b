import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';

const PLACES = ['/usr/sbin/nginx', '/usr/local/sbin/nginx', '/usr/bin/nginx'];

/**
 * Debian's nginx; installed first where it is missing and we may.
 *
 * @throws Error with one line that says what to install
 */
export function findNginx(): string {
  const find = () => PLACES.find((path) => existsSync(path));
  const found = find();
  if (found) return found;
  if (process.getuid?.() === 0 && existsSync('/usr/bin/apt-get')) {
    // In run level 1 Debian does not start what it installs: the tests run their own.
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' };
    const apt = (...args: string[]) =>
      execFileSync('apt-get', args, { env, stdio: 'ignore', timeout: 300_000 });
    apt('update', '-qq');
    apt('install', '-y', '-qq', '--no-install-recommends', 'nginx-light');
  }
  const installed = find();
  if (!installed) throw new Error('the tests need nginx: run "apt-get install nginx-light" as root');
  return installed;
}
