import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { type Browser, chromium } from 'playwright-core';

const PLACES = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/opt/google/chrome/chrome',
];

/**
 * A headless Chromium from the system (`CHROMIUM` names another); installed first where it is missing and we may.
 *
 * @throws Error with one line that says what to install
 */
export function launchChromium(): Promise<Browser> {
  // As root, in a container: Chromium's own sandbox needs a user. Only our own pages are opened.
  const args = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
  return chromium.launch({ executablePath: findChromium(), args });
}

function findChromium(): string {
  const find = () => [process.env.CHROMIUM, ...PLACES].find((path) => path && existsSync(path));
  const found = find();
  if (found) return found;
  if (process.getuid?.() === 0 && existsSync('/usr/bin/apt-get')) {
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
    const apt = (...args: string[]) =>
      execFileSync('apt-get', args, { env, stdio: 'ignore', timeout: 600_000 });
    apt('update', '-qq');
    apt('install', '-y', '-qq', '--no-install-recommends', 'chromium');
  }
  const installed = find();
  if (!installed)
    throw new Error('the tests need Chromium: run "apt-get install chromium" as root, or set CHROMIUM');
  return installed;
}
