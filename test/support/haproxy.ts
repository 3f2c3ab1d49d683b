import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { locate } from './programs.js';
import { type ProxyProcess, startProxyProcess } from './proxy-process.js';

/**
 * A private HAProxy.
 *
 * @param proxy the lines of its one `listen` section, without `bind`
 */
export const startHaproxy = (proxy: readonly string[]): Promise<ProxyProcess> =>
  startProxyProcess(locate('haproxy'), (home, port) => {
    const file = join(home, 'haproxy.cfg');
    writeFileSync(file, `${['listen tested', `bind 127.0.0.1:${port}`, ...proxy].join('\n  ')}\n`);
    return ['-db', '-f', file];
  });
