import { writeFileSync } from 'node:fs';

/**
 * Sets the name that `top`, `ss -p` and `pgrep` show; Node 24 names every program "MainThread". Unlike `process.title`,
 * this leaves the command line as it is.
 */
export function nameProcess(): void {
  if (process.platform !== 'linux') return;
  try {
    writeFileSync('/proc/self/comm', 'lightcone-node');
  } catch {
    // Where /proc is not writable, the process keeps Node's name.
  }
}
