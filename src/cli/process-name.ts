import { writeFileSync } from 'node:fs';

/**
 * What `top`, `ss -p` and `pgrep` show: Node 24 calls every program "MainThread". Its command line stays as it is, which
 * `process.title` would overwrite.
 */
export function nameProcess(): void {
  if (process.platform !== 'linux') return;
  try {
    writeFileSync('/proc/self/comm', 'lightcone-node');
  } catch {
    // Where /proc is not writable the name says less, and nothing else.
  }
}
