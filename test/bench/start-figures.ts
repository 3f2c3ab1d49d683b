/** How long the programs take to be there, and how large they are then. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../support/free-port.js';
import { median, rounded } from './statistics.js';

const DIST = resolve(import.meta.dirname, '../../../../../dist');
const ROUNDS = 5;

/** The embedded default with demo data, as `npm start` runs it, on a new database. */
export async function embeddedStart() {
  const seconds: number[] = [];
  let rssMib = 0;
  for (let round = 0; round < ROUNDS; round += 1) {
    const folder = mkdtempSync(join(tmpdir(), 'lightcone-bench-'));
    const port = await freePort();
    const begin = performance.now();
    const child = spawn(process.execPath, [join(DIST, 'cli.js'), 'serve', '--demo'], {
      cwd: folder,
      env: { ...process.env, LIGHTCONE_LISTEN: `127.0.0.1:${port}` },
      stdio: 'ignore',
    });
    while (!(await isReady(port))) await sleep(5);
    seconds.push((performance.now() - begin) / 1000);
    rssMib = rssOf(child.pid!);
    child.kill('SIGTERM');
    await once(child, 'exit');
    rmSync(folder, { recursive: true });
  }
  return { seconds_to_ready: rounded(median(seconds), 3), rss_mib: rssMib };
}

export async function monitorSize(services: { amqp: string; postgres: string }) {
  const child = spawn(process.execPath, [join(DIST, 'sse-monitor.js')], {
    env: {
      ...process.env,
      GALAXY_CONFIG_OVERRIDE_ENABLE_SSE_UPDATES: 'true',
      GALAXY_CONFIG_OVERRIDE_DATABASE_CONNECTION: services.postgres,
      GALAXY_CONFIG_OVERRIDE_AMQP_INTERNAL_CONNECTION: services.amqp,
    },
    stdio: 'ignore',
  });
  await sleep(5000);
  const rssMib = rssOf(child.pid!);
  child.kill('SIGTERM');
  await once(child, 'exit');
  return { rss_mib: rssMib };
}

async function isReady(port: number): Promise<boolean> {
  try {
    return (await fetch(`http://127.0.0.1:${port}/readyz`)).ok;
  } catch {
    return false;
  }
}

const rssOf = (pid: number): number =>
  rounded(Number(execFileSync('ps', ['-o', 'rss=', '-p', String(pid)], { encoding: 'utf8' })) / 1024, 0);
