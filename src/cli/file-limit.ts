import { readFileSync } from 'node:fs';
import type { Logger } from '../telemetry/logger.js';

/** Each stream needs a file descriptor. Beyond the limit the kernel refuses connections, and no line says so. */
export function warnOfFileLimit(maxConnections: number, logger: Logger): void {
  const allowed = openFilesAllowed();
  if (allowed !== undefined && allowed < maxConnections) {
    logger.warn(
      { allowed, maxConnections },
      'this process may open fewer files than max_connections: raise the limit (LimitNOFILE, ulimit -n), or lower max_connections',
    );
  }
}

/** Undefined where the system does not say, or sets no limit. */
function openFilesAllowed(): number | undefined {
  try {
    const soft = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1];
    return soft === undefined ? undefined : Number(soft);
  } catch {
    return undefined;
  }
}
